"""Forms of a layer's trained numbers: the names and shapes of the tensors.

Every form makes a core D (k, k) over k singular directions of a layer, in the shared basis.
docs/adapter-format.md says how. This module imports no torch, so that inspecting a file needs none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from ssvd_asr.errors import AdapterError

RotationMap = Literal["cayley", "first-order", "free"]  # G of SSVD
MAPS: tuple[RotationMap, ...] = get_args(RotationMap)
DEFAULT_MAP: RotationMap = "first-order"

SvftMap = Literal["svft-plain", "svft-banded", "svft-top-k", "svft-random"]  # where M of SVFT has entries
SVFT_MAPS: tuple[SvftMap, ...] = get_args(SvftMap)

CoreMap = Literal[RotationMap, "lora-xs", SvftMap]
CORE_MAPS: tuple[CoreMap, ...] = (*MAPS, "lora-xs", *SVFT_MAPS)

Directions = Literal["head", "tail"]  # the largest singular values, or the smallest that are determined
DIRECTIONS: tuple[Directions, ...] = get_args(Directions)

BudgetRule = Literal["energy", "shape"]  # see ssvd_asr.adapter.budget
BUDGET_RULES: tuple[BudgetRule, ...] = get_args(BudgetRule)

Part = Literal["rotation", "outer", "delta_sigma", "values"]  # the kinds of trained tensor that a form has


def skew_size(k: int) -> int:
    """Return how many free numbers a k x k skew-symmetric matrix has: k (k - 1) / 2."""
    return k * (k - 1) // 2


def rotation_shape(rotation_map: CoreMap, k: int) -> tuple[int, ...]:
    """Return the shape of a layer's rotation tensor: the upper triangle of K, or a whole k x k matrix."""
    return (k, k) if rotation_map in ("free", "lora-xs") else (skew_size(k),)


def band_size(k: int, off_diagonals: int) -> int:
    """Return how many entries a k x k band has, with d diagonals on each side: k (2 d + 1) - d (d + 1)."""
    d = min(off_diagonals, k - 1)
    return k * (2 * d + 1) - d * (d + 1)


@dataclass(frozen=True)
class CoreForm:
    """How the trained numbers of a layer make its core.

    Raises AdapterError for choices that do not go together.
    """

    map: CoreMap = DEFAULT_MAP
    outer: bool = False  # SSVD: a second rotation of the same map, on the side of U
    delta_sigma: bool = True  # SSVD: the singular values train too
    off_diagonals: int = 0  # SVFT: diagonals on each side of the main one, or as many entries elsewhere

    def __post_init__(self) -> None:
        if self.map not in CORE_MAPS:
            raise AdapterError(f"map {self.map!r} is not one of {', '.join(CORE_MAPS)}")
        if not self.is_ssvd and (self.outer or not self.delta_sigma):
            raise AdapterError(f"map {self.map!r} has neither an outer rotation nor a choice of delta_sigma")
        if self.off_diagonals < 0 or (self.off_diagonals == 0) == (self.map in SVFT_MAPS[1:]):
            raise AdapterError(
                f"off_diagonals={self.off_diagonals} does not go with map {self.map!r}: at least 1 for "
                f"{', '.join(SVFT_MAPS[1:])}, 0 for the others"
            )

    @property
    def is_ssvd(self) -> bool:
        """Whether the map is one of SSVD's own."""
        return self.map in MAPS

    @property
    def method(self) -> Literal["ssvd", "lora-xs", "svft"]:
        """The name of the method in an adapter file."""
        return "ssvd" if self.is_ssvd else "lora-xs" if self.map == "lora-xs" else "svft"

    @property
    def plain(self) -> bool:
        """Whether format version 1 can describe this form."""
        return self.is_ssvd and self.delta_sigma and not self.outer

    def shapes(self, k: int) -> dict[Part, tuple[int, ...]]:
        """Return the shape of each trained tensor of one layer."""
        if self.method == "svft":
            return {"values": (band_size(k, self.off_diagonals),)}
        rotation = rotation_shape(self.map, k)
        shapes: dict[Part, tuple[int, ...]] = {"rotation": rotation}
        if self.outer:
            shapes["outer"] = rotation
        if self.is_ssvd and self.delta_sigma:
            shapes["delta_sigma"] = (k,)
        return shapes

    def key(self, part: Part) -> str:
        """Return the name of a part's tensor in a file, where it follows the layer's name and a dot."""
        if part in ("delta_sigma", "values"):
            return part
        rotation = {"free": "g_minus_i", "lora-xs": "r"}.get(self.map, "skew")
        return f"outer_{rotation}" if part == "outer" else rotation

    def parameters(self, k: int) -> int:
        """Return how many numbers one layer trains."""
        return sum(math.prod(shape) for shape in self.shapes(k).values())


def as_form(form: CoreForm | CoreMap) -> CoreForm:
    """Return a form as it is, or the form that has this map and default choices."""
    return form if isinstance(form, CoreForm) else CoreForm(form)
