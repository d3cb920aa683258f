"""ESPnet's encoder layer without its mask where no row of a batch is padded. Imports ESPnet."""

from __future__ import annotations

from typing import Any

from espnet2.asr.encoder.e_branchformer_encoder import EBranchformerEncoderLayer
from torch import Tensor


class WholeWindowLayer(EBranchformerEncoderLayer):  # type: ignore[misc]
    """Within `fast_encoder.whole_windows` its mask, which hides nothing, is left out."""

    unmasked = False

    def forward(
        self, x_input: Any, mask: Tensor | None, cache: Tensor | None = None
    ) -> tuple[Any, Tensor | None]:
        """See EBranchformerEncoderLayer.forward."""
        output, _ = super().forward(x_input, None if self.unmasked else mask, cache)
        return output, mask
