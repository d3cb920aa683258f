"""ESPnet's Stft without its mask of padded frames. Imports ESPnet."""

from __future__ import annotations

import torch
from espnet2.layers.stft import Stft
from torch import Tensor


class UnmaskedStft(Stft):  # type: ignore[misc]
    """Stft without the mask for one channel, and ESPnet's own for several."""

    def forward(self, input: Tensor, ilens: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Return spectra (B, frames, frequencies, 2) of (B, samples), and the frames of each row."""
        if ilens is None or input.dim() > 2:
            made: tuple[Tensor, Tensor | None] = super().forward(input, ilens)
            return made
        output, _ = super().forward(input)
        padding = self.n_fft // 2 * 2 if self.center else 0
        frames = torch.div(ilens + padding - self.n_fft, self.hop_length, rounding_mode="trunc") + 1
        return output, frames
