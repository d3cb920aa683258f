"""All three maps against an independent implementation: PEFT's PSOFT (arXiv 2505.11235).

PSOFT's update is U_r S_r (R - I) V_r^T with R on the input side, on float32 factors of arbitrary signs.
Strict SSVD without delta-sigma is the same map with K = -Q; conjugating by the signs lines the bases up. Two
terms of its Neumann series are exactly the first order, psoft_orth=False is the free map, and its output-side
scale is 1 + dS / S.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ssvd_asr.adapter.forms import MAPS, RotationMap, rotation_shape
from ssvd_asr.adapter.rotation import core, rotation_delta, skew_matrix, skew_vector
from ssvd_asr.basis.factors import LayerFactors, canonical_svd
from ssvd_asr.layer.linear import AdaptedLinear

SHAPES = [(48, 20), (32, 32), (20, 48)]  # (out, in): tall, square, wide
PEFT_OPTIONS: dict[RotationMap, dict[str, Any]] = {
    "cayley": {"psoft_orth": True},
    "first-order": {"psoft_orth": True, "use_cayley_neumann": True, "num_cayley_neumann_terms": 2},
    "free": {"psoft_orth": False},
}


def psoft(linear: nn.Linear, kind: RotationMap, k: int, scaled: bool) -> Any:
    """PEFT's layer around a copy of `linear`, with scaling 1."""
    from peft import PsoftConfig, get_peft_model

    model = nn.Sequential(nn.Linear(linear.in_features, linear.out_features))
    model.load_state_dict({"0.weight": linear.weight, "0.bias": linear.bias})
    config = PsoftConfig(
        r=k, psoft_alpha=k, target_modules=["0"], psoft_mag_a=False, psoft_mag_b=scaled, **PEFT_OPTIONS[kind]
    )
    adapted: Any = get_peft_model(model, config)
    return adapted.base_model.model[0]


def set_psoft(
    layer: Any, factors: LayerFactors, kind: RotationMap, rotation: Tensor, delta_sigma: Tensor | None
) -> None:
    """Give PEFT's layer our numbers: K = -Q, both conjugated by the signs that tell its basis from ours."""
    k = layer.r["default"]
    basis = layer._psoft_A_cache["default"].double()  # (k, n), rows are its v_i
    signs = (basis * factors.vh[:k]).sum(dim=1).sign()
    assert torch.allclose(basis, signs[:, None] * factors.vh[:k], atol=1e-4)
    turn = layer.psoft_R["default"]
    with torch.no_grad():
        if kind == "free":
            turn.weight.copy_(signs[:, None] * (rotation + torch.eye(k)) * signs)
        else:
            turn.weight.copy_(skew_vector(-(signs[:, None] * skew_matrix(rotation, k) * signs)))
        if delta_sigma is not None:
            turn.vector_b.copy_(1.0 + delta_sigma / factors.s[:k])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", MAPS)
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("k", [5, 20])
def test_every_map_is_psofts_with_and_without_scaling(
    shape: tuple[int, int], kind: RotationMap, scaled: bool, k: int
) -> None:
    generator = torch.Generator().manual_seed(3)
    linear = nn.Linear(shape[1], shape[0])
    with torch.no_grad():
        # Well separated, since PEFT's factors are float32.
        left, right = (
            torch.linalg.qr(torch.randn(side, min(shape), generator=generator))[0] for side in shape
        )
        linear.weight.copy_(left * torch.linspace(3.0, 0.5, min(shape)) @ right.mT)
    factors = canonical_svd(linear.weight)
    rotation = 0.15 * torch.randn(rotation_shape(kind, k), generator=generator)
    delta_sigma = 0.2 * torch.randn(k, generator=generator) if scaled else torch.zeros(k)

    ours = AdaptedLinear(linear, factors)
    ours.core = core(factors.s[:k], rotation_delta(kind, rotation), delta_sigma)
    theirs = psoft(linear, kind, k, scaled)
    set_psoft(theirs, factors, kind, rotation, delta_sigma if scaled else None)

    x = torch.randn(7, shape[1], generator=generator)
    with torch.no_grad():
        change = theirs(x) - linear(x)
        assert change.norm() > 0.1 * linear(x).norm()  # the two agree about something
        assert (ours(x) - theirs(x)).norm() < 1e-4 * change.norm()
        delta_weight = theirs.get_delta_weight("default")
        assert (ours.merged_weight() - linear.weight - delta_weight).norm() < 1e-4 * delta_weight.norm()


def test_the_oracle_tells_maps_apart() -> None:
    """Were they one, a test that mixes them up could not fail."""
    rotation = 0.3 * torch.randn(10, generator=torch.Generator().manual_seed(0))
    strict, first = rotation_delta("cayley", rotation), rotation_delta("first-order", rotation)
    assert float((strict - first).norm() / strict.norm()) > 0.1
