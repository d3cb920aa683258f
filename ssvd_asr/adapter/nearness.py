"""Nearness of two adapters of one base: how alike they turn the shared basis, layer by layer.

U and V are orthonormal and belong to the base, so comparing two cores D compares the two changes U D V^T of
the weight itself. docs/serving.md defines the figures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ssvd_asr.errors import AdapterError

if TYPE_CHECKING:
    from torch import Tensor

    from ssvd_asr.adapter.adapter import Adapter

PLANE = 8  # directions of each side whose principal angles are taken, or k if a layer has fewer
NOTHING = 1e-9  # of the largest singular value of a core; less is no direction


@dataclass(frozen=True)
class LayerNearness:
    """One layer that both adapters change. Angles in degrees, all other figures without a unit.

    Attributes:
        cosine: of the two cores, as vectors of k x k numbers.
        skew, delta_sigma: the same of the trained numbers; None if the forms differ or lack them, or if one
            is all zero.
        angle_deg: mean principal angle between the PLANE input directions that each changes most; None if one
            changes fewer.
        chance_deg: what that angle is for random directions, about arccos(sqrt(PLANE / k)).
        size_a, size_b: Frobenius norm of each core over that of the singular values it changes.
    """

    layer: str
    k: int
    cosine: float
    skew: float | None
    delta_sigma: float | None
    angle_deg: float | None
    chance_deg: float
    size_a: float
    size_b: float


@dataclass(frozen=True)
class Nearness:
    """Two adapters. `cosine` is of all cores of common layers together."""

    cosine: float
    skew: float | None
    delta_sigma: float | None
    layers: tuple[LayerNearness, ...]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]


def nearness(a: Adapter, b: Adapter) -> Nearness:
    """Compare two adapters of one base, of any forms.

    Raises AdapterError if they have no layer in common, or one changes nothing in any common layer.
    """
    import torch

    common = [name for name in a.ks if name in b.ks]
    if not common:
        raise AdapterError("the two adapters have no layer in common")
    with torch.no_grad():
        cores = [
            {name: core.double() for name, core in each.cores().items() if name in common} for each in (a, b)
        ]
    sigmas = [each.sigmas for each in (a, b)]
    state_a, state_b = a.state, b.state
    layers = []
    for name in common:
        one, other = (_padded(each[name], max(a.spans[name], b.spans[name])) for each in cores)
        layers.append(
            LayerNearness(
                layer=name,
                k=len(one),
                cosine=_cosine(one, other) or 0.0,
                skew=_part(state_a, state_b, f"{name}.skew"),
                delta_sigma=_part(state_a, state_b, f"{name}.delta_sigma"),
                angle_deg=_angle_deg(one, other),
                chance_deg=_chance_deg(len(one)),
                size_a=float(one.norm() / sigmas[0][name].norm()),
                size_b=float(other.norm() / sigmas[1][name].norm()),
            )
        )
    whole = [
        torch.cat([_padded(each[name], max(a.spans[name], b.spans[name])).flatten() for name in common])
        for each in cores
    ]
    cosine = _cosine(*whole)
    if cosine is None:
        raise AdapterError("one of the two adapters changes nothing in the layers that both have")
    return Nearness(
        cosine,
        _parts(state_a, state_b, [f"{name}.skew" for name in common]),
        _parts(state_a, state_b, [f"{name}.delta_sigma" for name in common]),
        tuple(layers),
        tuple(name for name in a.ks if name not in b.ks),
        tuple(name for name in b.ks if name not in a.ks),
    )


def _padded(core: Tensor, k: int) -> Tensor:
    """Return the core as one of the first k directions: zero where it changes none."""
    from torch.nn.functional import pad

    more = k - len(core)
    return pad(core, (0, more, 0, more)) if more else core


def _cosine(a: Tensor, b: Tensor) -> float | None:
    """Return the cosine of two tensors of one shape as vectors; None if one is zero."""
    sizes = float(a.norm() * b.norm())
    return float((a * b).sum()) / sizes if sizes else None


def _part(a: Mapping[str, Tensor], b: Mapping[str, Tensor], key: str) -> float | None:
    return _parts(a, b, [key])


def _parts(a: Mapping[str, Tensor], b: Mapping[str, Tensor], keys: list[str]) -> float | None:
    import torch

    both = [key for key in keys if key in a and key in b and a[key].shape == b[key].shape]
    if not both:
        return None
    return _cosine(*(torch.cat([each[key].double().flatten() for key in both]) for each in (a, b)))


def _angle_deg(a: Tensor, b: Tensor) -> float | None:
    """Return the mean principal angle between what two cores (k, k) change most on their input side."""
    import torch

    size = min(PLANE, len(a))
    planes = []
    for core in (a, b):
        _, strength, directions = torch.linalg.svd(core)
        if strength[size - 1] <= NOTHING * strength[0]:
            return None
        planes.append(directions[:size])  # (PLANE, k), orthonormal rows
    cosines = torch.linalg.svdvals(planes[0] @ planes[1].mT).clamp(max=1.0)
    return float(torch.rad2deg(torch.arccos(cosines)).mean())


def _chance_deg(k: int) -> float:
    return math.degrees(math.acos(math.sqrt(min(PLANE, k) / k)))
