"""Positions of the entries of SVFT's matrix M: sorted flat positions, row by row, in a k x k matrix.

`plain` is the diagonal, and `banded` adds d diagonals on each side. `random` and `top-k` have as many entries
as that band, anywhere. Plain and banded follow from k and d, and random also from the layer's name. Top-k
follows from the weight, so a file stores it as a mask.

Source: SVFT, arXiv 2405.19597.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import Tensor

from ssvd_asr.adapter.forms import CoreForm, band_size
from ssvd_asr.basis.factors import LayerFactors
from ssvd_asr.errors import AdapterError


def fixed_positions(form: CoreForm, layer: str, k: int) -> Tensor:
    """Return the positions (entries,), int32, of a form whose file does not store them.

    Raises AdapterError for a form without positions, or with stored ones.
    """
    if form.map in ("svft-plain", "svft-banded"):
        return _band(k, form.off_diagonals)
    if form.map == "svft-random":
        return _random(layer, k, band_size(k, form.off_diagonals))
    raise AdapterError(f"map {form.map!r} has no positions that follow from the layer's name and size")


def top_positions(factors: LayerFactors, k: int, off_diagonals: int) -> Tensor:
    """Return the positions where left and right singular vectors align most, int32 (entries,).

    For a square weight these are the largest |u_i . v_j|. Otherwise the products have no meaning. Then, as in
    SVFT's code, they are the largest entries of whichever of U and V^T is square. Absolute values are
    compared, because the signs of singular vectors are a convention.
    """
    m, n = factors.shape
    u, vh = factors.u[:, :k], factors.vh[:k]
    strength = (u.mT @ vh.mT if m == n else u[:k] if m < n else vh[:, :k]).abs()
    order = strength.flatten().argsort(descending=True, stable=True)
    return order[: band_size(k, off_diagonals)].sort().values.to(torch.int32)


def to_mask(positions: Tensor, k: int) -> Tensor:
    """Return the positions as a mask of bits, uint8 (ceil(k k / 8),), with position 0 in the highest bit."""
    bits = np.zeros(k * k, dtype=np.uint8)
    bits[positions.cpu().numpy()] = 1
    return torch.from_numpy(np.packbits(bits))


def from_mask(mask: Tensor, k: int, entries: int) -> Tensor:
    """Return the positions in a mask, int32: the inverse of `to_mask`. Unpacks only bytes that hold entries.

    Raises AdapterError unless the mask has exactly `entries` bits set, all within k x k.
    """
    octets = mask.numpy()
    found = int(np.bitwise_count(octets).sum(dtype=np.int64))
    if found != entries:
        raise AdapterError(f"a mask of {found} entries, {entries} are wanted")
    set_octets = np.flatnonzero(octets)
    rows, bits = np.nonzero(np.unpackbits(octets[set_octets, None], axis=1))
    positions = set_octets[rows] * 8 + bits
    if positions[-1] >= k * k:
        raise AdapterError(f"a mask has an entry at {positions[-1]}, outside {k} x {k}")
    return torch.from_numpy(positions.astype(np.int32))


def mask_bytes(k: int) -> int:
    """Return the size of a layer's mask in bytes."""
    return (k * k + 7) // 8


def _band(k: int, off_diagonals: int) -> Tensor:
    d = min(off_diagonals, k - 1)
    rows = torch.arange(k).unsqueeze(-1)
    columns = rows + torch.arange(-d, d + 1)
    inside = (columns >= 0) & (columns < k)
    return (rows * k + columns)[inside].to(torch.int32)


def _random(layer: str, k: int, count: int) -> Tensor:
    """Return the first `count` distinct numbers below k k of a stream, sorted.

    The stream is SHAKE-256 of "ssvd-asr svft positions <layer>". Each 8 bytes are a little-endian integer,
    taken modulo k k.
    """
    shake = hashlib.shake_256(f"ssvd-asr svft positions {layer}".encode())
    draws = 2 * count + 64
    while True:
        stream = np.frombuffer(shake.digest(8 * draws), dtype="<u8") % np.uint64(k * k)
        values, first = np.unique(stream, return_index=True)
        if len(values) >= count:
            chosen = values[np.argsort(first)[:count]]
            return torch.from_numpy(np.sort(chosen).astype(np.int32))
        draws *= 2
