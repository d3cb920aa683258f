"""Window of a base, the clock of its encoder frames, and what its decoder attends to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ssvd_asr.errors import AudioError, AudioTooLongError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Window:
    """How much audio a base encodes at a time, and how longer audio is best cut for it.

    Attributes:
        duration_s: speech is padded with silence to this length.
        joined_speech_s: how much speech without a silence it bears; None: a whole window, silences included.
        context_s: how much of its neighbours a piece that was cut within speech is decoded with.
        setting: where the length is set, for messages.
    """

    duration_s: float
    sample_rate_hz: int
    joined_speech_s: float | None = None
    context_s: float = 0.0
    setting: str = ""

    @property
    def samples(self) -> int:
        """Length in samples, rounded down."""
        return int(self.sample_rate_hz * self.duration_s)

    @property
    def bears_silences(self) -> bool:
        """Whether a piece may hold silences: unless it is known how much joined speech the base bears."""
        return self.joined_speech_s is None

    @property
    def longest_piece_samples(self) -> int:
        """How much speech without a silence a window bears, context included: longer speech is cut."""
        longest_s = self.duration_s if self.joined_speech_s is None else self.joined_speech_s
        return int(self.sample_rate_hz * min(longest_s, self.duration_s))

    @property
    def context_samples(self) -> int:
        """Length of the context on either side, in samples."""
        return int(self.sample_rate_hz * self.context_s)

    def fill(self, rows: FloatArray, waves: Sequence[FloatArray], name: str) -> None:
        """Write the waves into rows of zeros (B, samples). `name` is the base's, for messages.

        Raises:
            AudioTooLongError: a wave is longer than the window.
            AudioError: there are no waves, or one is not a vector.
        """
        if not waves:
            raise AudioError("no audio given: 0 waves")
        for row, wave in zip(rows, waves, strict=True):
            if wave.ndim != 1:
                raise AudioError(f"audio has shape {wave.shape}; one channel of samples is expected")
            if len(wave) > self.samples:
                raise AudioTooLongError(
                    f"audio of {len(wave) / self.sample_rate_hz:.2f} s is longer than the window of "
                    f"{self.duration_s:g} s of base model {name!r} ({self.setting})"
                )
            row[: len(wave)] = wave

    def padded(self, waves: Sequence[FloatArray], name: str, device: torch.device | None = None) -> Tensor:
        """Return waves in windows of zeros, (B, samples) float32 on `device`. Raises as `fill` does."""
        import torch

        # Page-locked for a GPU, which saves its driver a copy (60 MB for 32 windows).
        pinned = device is not None and device.type == "cuda"
        speech = torch.zeros(len(waves), self.samples, pin_memory=pinned)
        self.fill(speech.numpy(), waves, name)
        return speech.to(device, non_blocking=pinned)


@dataclass(frozen=True)
class Clock:
    """Conversion of encoder frames to times in the audio.

    Attributes:
        frame_s: length of one frame.
        start_shift_s, end_shift_s: added to the starts of words and to the ends before a pause. A model emits
            a piece some time after it began and stops before it ended. Measured for each base.
        lead_frames: how many frames precede that of the audio's beginning.
    """

    frame_s: float
    start_shift_s: float = 0.0
    end_shift_s: float = 0.0
    lead_frames: int = 0


@dataclass(frozen=True)
class Listening:
    """What a decoder attended to while it said N tokens, the closing one included. On the CPU.

    Attributes:
        weights: attention on the encoder output, (heads, L, T), of heads that follow the speech. L counts the
            prompt's tokens too: a row is the token that was read, and the N last rows say the N tokens.
        begin: the first of these rows.
        log_probs: natural log-probability of each token that was said, (N,).
    """

    weights: Tensor
    begin: int
    log_probs: Tensor
