"""Nearness: 1 and 0 degrees for an adapter and itself, whatever its strength; chance for random ones."""

from __future__ import annotations

import pytest
import torch

from ssvd_asr.adapter.adapter import Adapter
from ssvd_asr.adapter.nearness import PLANE, nearness
from ssvd_asr.basis.factors import canonical_svd
from ssvd_asr.errors import AdapterError

FACTORS = {
    name: canonical_svd(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)))
    for seed, (name, shape) in enumerate({"a": (90, 70), "b": (70, 80)}.items())
}


def trained(seed: int, scale: float = 1.0, **how: object) -> Adapter:
    adapter = Adapter.new(FACTORS, **{"k": 64, **how})  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
    return adapter


def test_an_adapter_and_itself_at_another_strength_are_the_same() -> None:
    found = nearness(trained(1), trained(1, scale=0.25))
    for each in (found.skew, found.delta_sigma, *(layer.skew for layer in found.layers)):
        assert each == pytest.approx(1.0)
    quarter = trained(1, scale=1e-4)
    tiny = nearness(quarter, trained(1, scale=0.5e-4))  # so weak that the core is linear in the numbers
    assert tiny.cosine == pytest.approx(1.0, abs=1e-4)
    assert [layer.angle_deg for layer in tiny.layers] == pytest.approx([0.0, 0.0], abs=0.1)
    assert tiny.layers[0].size_a == pytest.approx(2 * tiny.layers[0].size_b, rel=1e-3)


def test_the_negative_of_an_adapter_has_cosine_minus_one() -> None:
    found = nearness(trained(1, scale=1e-4), trained(1, scale=-1e-4))
    assert found.cosine == pytest.approx(-1.0, abs=1e-4)


def test_random_adapters_are_as_near_as_chance() -> None:
    found = nearness(trained(1), trained(2))
    assert abs(found.cosine) < 0.05
    for layer in found.layers:
        assert layer.angle_deg == pytest.approx(layer.chance_deg, abs=6)


def test_what_only_one_of_them_has_is_named_and_not_compared() -> None:
    found = nearness(trained(1, layers=["a"]), trained(1))
    assert [layer.layer for layer in found.layers] == ["a"]
    assert (found.only_a, found.only_b) == ((), ("b",))
    with pytest.raises(AdapterError, match="no layer in common"):
        nearness(trained(1, layers=["a"]), trained(1, layers=["b"]))


def test_other_forms_and_sizes_are_compared_by_their_cores_alone() -> None:
    found = nearness(trained(1), trained(1, rotation_map="lora-xs", k=40))
    assert (found.skew, found.delta_sigma) == (None, None)
    assert [layer.k for layer in found.layers] == [64, 64]


def test_a_plane_that_is_not_determined_has_no_angle_and_nothing_is_compared_with_nothing() -> None:
    flat = trained(1)
    with torch.no_grad():
        for parameter in flat.parameters():
            parameter.zero_()
        flat.get_submodule("delta_sigma")["64"][:, : PLANE - 1] = 1.0  # type: ignore[index]
    found = nearness(flat, trained(1))
    assert [layer.angle_deg for layer in found.layers] == [None, None]
    with pytest.raises(AdapterError, match="changes nothing"):
        nearness(Adapter.new(FACTORS, k=64), trained(1))
