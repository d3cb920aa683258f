"""The rotation maps' names and what each stores; imports no torch, so that files can be inspected lightly."""

from __future__ import annotations

from typing import Literal, get_args

RotationMap = Literal["cayley", "first-order", "free"]
MAPS: tuple[RotationMap, ...] = get_args(RotationMap)
DEFAULT_MAP: RotationMap = "first-order"


def skew_size(k: int) -> int:
    """Return how many free numbers a k x k skew-symmetric matrix has: k (k - 1) / 2."""
    return k * (k - 1) // 2


def rotation_key(rotation_map: RotationMap) -> str:
    """Return what the rotation's tensor is called in a file."""
    return "g_minus_i" if rotation_map == "free" else "skew"


def rotation_shape(rotation_map: RotationMap, k: int) -> tuple[int, ...]:
    """Return the shape of one layer's rotation parameter."""
    return (k, k) if rotation_map == "free" else (skew_size(k),)
