"""ESPnet's encoder layer with an optional mask, for batches without padding. Imports ESPnet."""

from __future__ import annotations

from typing import Any

from espnet2.asr.encoder.e_branchformer_encoder import EBranchformerEncoderLayer
from torch import Tensor


class WholeWindowLayer(EBranchformerEncoderLayer):  # type: ignore[misc]
    """Encoder layer that ignores its mask while `fast_encoder.whole_windows` sets `unmasked`."""

    unmasked = False

    def forward(
        self, x_input: Any, mask: Tensor | None, cache: Tensor | None = None
    ) -> tuple[Any, Tensor | None]:
        """See EBranchformerEncoderLayer.forward."""
        output, _ = super().forward(x_input, None if self.unmasked else mask, cache)
        return output, mask
