"""Factors of many weights of one shape, computed together on a GPU and checked.

A GPU's eigensolver is fast and its SVD slow, and the tolerances were measured with neither. So every result
is checked: orthonormal sides, the weight rebuilt. Weights that fail are computed on the CPU.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ssvd_asr.basis.factors import AUTO_MAX_CONDITION, LayerFactors, canonical, canonical_svd, checked_matrix

BATCH_BYTES = 2**30  # of weights in float64 on the device at a time; the work space is a few times that
# |V V^T - I| and |U S V^T - W| / sigma_1, largest element. LAPACK: 1e-14 to 1e-13 at these sizes.
EXACT = 1e-11

logger = logging.getLogger(__name__)


def batch_size(shape: tuple[int, int]) -> int:
    """Return how many weights of this shape are computed together."""
    return max(1, BATCH_BYTES // (8 * shape[0] * shape[1]))


def canonical_svd_batch(weights: Sequence[Tensor], device: torch.device) -> Iterator[LayerFactors]:
    """Yield the canonical factors of weights, all (m, n), in their order.

    Raises BaseModelError for a weight that is not a finite matrix.
    """
    stacked: Tensor | None
    found: tuple[Tensor, Tensor, Tensor] | None
    try:
        stacked = torch.stack([checked_matrix(weight, device) for weight in weights])  # (B, m, n)
        found = _factor(stacked)
    except RuntimeError as error:  # no convergence, or no memory: CUDA's libraries word it differently
        logger.warning("no SVD on %s (%s); computing on the CPU", device, error)
        found = stacked = None
    if found is None or stacked is None:  # outside the handler, whose traceback keeps memory in use
        if device.type == "cuda":
            torch.cuda.empty_cache()
        yield from (canonical_svd(weight) for weight in weights)
        return
    for weight, matrix, u, s, vh in zip(weights, stacked, *found, strict=True):
        if _is_exact(matrix, u, s, vh):
            yield canonical(u, s, vh)
        else:
            logger.warning("SVD on %s of a %s weight is inexact; on the CPU", device, tuple(weight.shape))
            yield canonical_svd(weight)


def _factor(stacked: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return u (B, m, r), s (B, r), vh (B, r, n) by the Gram matrices, or by SVD where ill-conditioned."""
    tall = stacked.shape[1] >= stacked.shape[2]
    values, vectors = torch.linalg.eigh(stacked.mT @ stacked if tall else stacked @ stacked.mT)
    s = values.flip(1).clamp_min(0.0).sqrt()
    vectors = vectors.flip(2)
    if tall:
        u, vh = (stacked @ vectors) / s.unsqueeze(1), vectors.mT
    else:
        u, vh = vectors, (vectors.mT @ stacked) / s.unsqueeze(2)
    bad = s[:, -1] * AUTO_MAX_CONDITION <= s[:, 0]
    if bool(bad.any()):
        u[bad], s[bad], vh[bad] = torch.linalg.svd(stacked[bad], full_matrices=False)
    return u, s, vh


def _is_exact(matrix: Tensor, u: Tensor, s: Tensor, vh: Tensor) -> bool:
    """Return whether the sides are orthonormal and the weight is rebuilt, within EXACT."""
    identity = torch.eye(len(s), dtype=s.dtype, device=s.device)
    left, right = (u.mT @ u - identity).abs().max(), (vh @ vh.mT - identity).abs().max()
    rebuilt = ((u * s) @ vh - matrix).abs().max() / s[0].clamp_min(torch.finfo(s.dtype).tiny)
    return bool(torch.stack([left, right, rebuilt]).max() <= EXACT)  # False for a NaN
