"""Blend of packed adapters: one packed adapter whose numbers are the weighted sum of the parts'."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from server.bank.packed import PackedAdapter
from ssvd_asr.adapter.blend import check_alike, weighted_sum


def blended(
    parts: Sequence[PackedAdapter], weights: Sequence[float], names: Sequence[str], *, pinned: bool = False
) -> PackedAdapter:
    """Return the blend, with numbers of the widest format among the parts, as the blend's own file has them.

    Args:
        parts: in the order in which they are added, which decides the last bit.
        names: what an error calls each part.
        pinned: see `pack`.

    Raises BlendFormError if the parts are not of one form, or a sum is not finite in that format.
    """
    check_alike([part.layout for part in parts], names)
    first = parts[0].layout
    dtype = max((part.numbers.dtype for part in parts), key=lambda each: each.itemsize)
    numbers = torch.zeros(first.count, dtype=dtype, pin_memory=pinned)
    places = [part.layout.places() for part in parts]  # a file may hold its tensors in any order
    for key, (begin, size) in places[0].items():
        own = [part.numbers[at[key][0] : at[key][0] + size] for part, at in zip(parts, places, strict=True)]
        numbers[begin : begin + size] = weighted_sum(own, weights, dtype)
    widest = next(part.layout for part in parts if part.numbers.dtype == dtype)
    return PackedAdapter(replace(first, dtype=widest.dtype, first_byte=0), numbers)
