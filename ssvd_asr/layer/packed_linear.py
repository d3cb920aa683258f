"""Product of a few rows with a large weight that stays, as in the output layer at a decoder's step on a CPU.

The BLAS behind torch reads a large weight slowly for 4 to 32 rows. oneDNN, which torch carries too, reads it
once and at the memory's full speed, if it is laid out for it beforehand. For 8 rows by Whisper's (51865, 512)
one thread takes 9.8 ms, and 25.5 ms without.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.weak import WeakTensorKeyDictionary

from ssvd_asr.layer.tall_linear import TALL, tall_linear

ROWS = range(2, 65)  # one row is as fast without; for more than 64 the copy is not worth its memory


@dataclass(frozen=True)
class _Packed:
    """A copy of a weight in oneDNN's own layout, and what the weight was when it was made."""

    state: tuple[int, int]
    weight: Tensor


_copies = WeakTensorKeyDictionary()  # from the weight to its copy, which goes when the weight goes


def packed_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return W x + b of rows x (R, n), for a weight (m, n) that is used again and again.

    Side effect: on a CPU, a second copy of a tall float32 weight is kept as long as the weight lives.
    """
    tall = len(weight) >= TALL * weight.shape[1]
    suited = (
        x.device.type == "cpu" and x.dtype == weight.dtype == torch.float32 and not torch.is_grad_enabled()
    )
    if not (tall and suited and len(x) in ROWS and _has_onednn()):
        return tall_linear(x, weight, bias)
    y: Tensor = torch.ops.mkldnn._linear_pointwise(x, _packed(weight), bias, "none", [], "")
    return y


def _packed(weight: Tensor) -> Tensor:
    """Return the weight's copy, made anew after the weight has changed."""
    state = weight._version, weight.data_ptr()
    found = _copies.get(weight, None)  # type: ignore[no-untyped-call]
    if found is None or found.state != state:
        made = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), max(ROWS))
        found = _copies[weight] = _Packed(state, made)
    copy: Tensor = found.weight
    return copy


@cache
def _has_onednn() -> bool:
    """Return whether torch has oneDNN, and these operators of it, and they compute what they should."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    weight, x = torch.linspace(-1, 1, 64 * 4).view(64, 4), torch.linspace(1, 2, 8).view(2, 4)
    try:
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, max(ROWS))
        found = torch.ops.mkldnn._linear_pointwise(x, packed, None, "none", [], "")
    except (AttributeError, RuntimeError, TypeError):  # another torch: not public, and so not promised
        return False
    return bool(torch.allclose(found, functional.linear(x, weight), atol=1e-5))
