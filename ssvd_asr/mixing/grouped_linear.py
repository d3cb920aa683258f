"""Linear with a weight of its own for each block of rows."""

from __future__ import annotations

import logging
from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor

from ssvd_asr.layer.tall_linear import tall_linear

logger = logging.getLogger(__name__)


def grouped_linear(x: Tensor, weights: Tensor, bias: Tensor | None) -> Tensor:
    """Map x (S R, n), R rows of each of S blocks, by weights (S, m, n) and bias (m,) to (S R, m)."""
    blocks, m, n = weights.shape
    if blocks == 1:
        return tall_linear(x, weights[0], bias)
    if bias is not None and x.is_cuda and x.dtype.itemsize == 2 and _kernel_works(x.device):
        from ssvd_asr.mixing.grouped_kernel import fits, linear_per_block

        if fits(m, n):
            return linear_per_block(x.contiguous(), weights, bias)
    y = torch.bmm(x.view(blocks, -1, n), weights.mT).view(-1, m)
    return y if bias is None else y.add_(bias)


@cache
def _kernel_works(device: torch.device) -> bool:
    """Return whether the kernel can be compiled and run here. Triton needs a C compiler."""
    if find_spec("triton") is None:
        return False
    from ssvd_asr.mixing.grouped_kernel import INNER, linear_per_block

    ones = torch.ones(2, INNER, INNER, device=device, dtype=torch.float16)
    try:
        found = linear_per_block(ones[0, :2], ones, ones[0, 0])
        torch.testing.assert_close(found, torch.full_like(found, INNER + 1))
    except Exception as error:  # Triton's compilers raise many kinds
        logger.warning("steps of few domains are slower, as Triton's kernel fails on %s: %s", device, error)
        return False
    return True
