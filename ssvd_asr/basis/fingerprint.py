"""Fingerprint of a layer's singular basis: numbers that tell one basis from another.

It holds S_k, and V_k^T g for two fixed probes g. A hash would not do, because the last bits differ between
LAPACK builds (3.5e-12 measured). A wrong basis is far off (the weakest column moves the probes by 5e-3).

Probe i of length n: SHAKE-256 of the ASCII text "ssvd-asr basis probe <i>" gives 8 n bytes; each 8 read as a
little-endian integer, shifted right by 11, times 2^-52, minus 1: uniform in [-1, 1). A short probe is the
beginning of a long one.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import Tensor

from ssvd_asr.basis.factors import LayerFactors
from ssvd_asr.errors import AdapterError, WrongBasisError

PROBES = 2
TOLERANCE = 1e-8  # of sigma_1 for S_k; absolute for the probes
# A column turns by rounding / its distance to the neighbours, so close singular values get more tolerance.
GAP_TOLERANCE = 64 * float(np.finfo(np.float64).eps)


def probe(index: int, size: int) -> Tensor:
    """Return fixed probe `index` (size,), float64 in [-1, 1), the same on every machine and version."""
    data = hashlib.shake_256(f"ssvd-asr basis probe {index}".encode("ascii")).digest(8 * size)
    integers = np.frombuffer(data, dtype="<u8") >> np.uint64(11)
    return torch.from_numpy(integers.astype(np.float64) * 2.0**-52 - 1.0)


def fingerprint(factors: LayerFactors, k: int, start: int = 0) -> Tensor:
    """Return (3, k) float64: k singular values from `start` on, V_k^T g_0, V_k^T g_1.

    Raises AdapterError where the spectrum does not determine start + k directions.
    """
    if not 1 <= k <= factors.cut - start:
        raise AdapterError(
            f"k={k} is not within 1..{factors.cut - start}, the directions its spectrum determines"
        )
    vh = factors.vh[start : start + k]
    return torch.stack(
        [factors.s[start : start + k], *(vh @ probe(index, vh.shape[1]) for index in range(PROBES))]
    )


def check_fingerprint(layer: str, stored: Tensor, factors: LayerFactors, start: int = 0) -> None:
    """Compare a fingerprint (3, k) of the directions from `start` on with the base's own factors.

    Raises WrongBasisError naming the layer, the deviation and the tolerance.
    """
    k = stored.shape[1]
    if start + k > factors.cut:
        raise WrongBasisError(
            f"layer {layer!r}: k={start + k}, but the base's spectrum determines {factors.cut}"
        )
    own = fingerprint(factors, k, start)
    largest = factors.s[0]
    deviation = (stored - own).abs()
    deviation[0] /= largest
    tolerance = torch.full_like(deviation, TOLERANCE)
    norm = probe(0, factors.vh.shape[1]).norm()
    tolerance[1:] += GAP_TOLERANCE * norm * largest / _gaps(factors.s)[start : start + k]
    over = deviation > tolerance
    if bool(over.any()):
        row, column = (int(i) for i in over.nonzero()[0])
        what = "singular value" if row == 0 else f"probe {row - 1}"
        raise WrongBasisError(
            f"layer {layer!r}: {what} of direction {start + column} deviates by "
            f"{float(deviation[row, column]):.1e}, tolerance {float(tolerance[row, column]):.1e}: "
            "the adapter was trained on another basis"
        )


def _gaps(s: Tensor) -> Tensor:
    """Return each singular value's distance to its nearest neighbour (r,); for the last, also to zero."""
    down = torch.cat([s[:-1] - s[1:], s[-1:]])
    up = torch.cat([torch.full_like(s[:1], torch.inf), down[:-1]])
    return torch.minimum(down, up)
