"""The trained numbers of one domain."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssvd_asr.adapter.adapter import Adapter, layer_k
from ssvd_asr.adapter.forms import MAPS, RotationMap, skew_size
from ssvd_asr.adapter.rotation import core, rotation_delta
from ssvd_asr.errors import AdapterError
from tests.ssvd_asr.toy import Toy, toy_factors, train_at_random

FACTORS = toy_factors(Toy())  # min(out, in): tall 12, wide 10, square 10


@pytest.mark.parametrize("kind", MAPS)
def test_cores_of_layers_of_many_sizes_are_as_computed_one_by_one(kind: RotationMap) -> None:
    adapter = train_at_random(Adapter.new(FACTORS, p=0.6, rotation_map=kind))
    assert adapter.ks == {"tall": 7, "wide": 6, "square": 6}
    cores, state = adapter.cores(), adapter.state
    assert cores.keys() == FACTORS.keys()
    for name, k in adapter.ks.items():
        rotation = state[f"{name}.g_minus_i" if kind == "free" else f"{name}.skew"]
        alone = core(FACTORS[name].s[:k], rotation_delta(kind, rotation), state[f"{name}.delta_sigma"])
        assert torch.allclose(cores[name], alone, atol=1e-6)


def test_cores_come_in_the_dtype_asked_for_but_are_computed_before_the_cast() -> None:
    adapter = train_at_random(Adapter.new(FACTORS))
    exact = adapter.cores()
    for name, made in adapter.cores(torch.bfloat16).items():
        assert torch.equal(made, exact[name].to(torch.bfloat16))


@pytest.mark.parametrize("kind", MAPS)
@settings(deadline=None, max_examples=40)
@given(k=st.integers(1, 10))
def test_counts_are_the_papers_formula(kind: RotationMap, k: int) -> None:
    per_layer = k * k + k if kind == "free" else skew_size(k) + k
    assert Adapter.new(FACTORS, k=k, rotation_map=kind).parameter_count() == 3 * per_layer


@settings(deadline=None, max_examples=40)
@given(st.floats(1e-3, 1.0), st.integers(1, 4096))
def test_k_is_the_whole_part_of_p_times_the_smaller_side(p: float, rank: int) -> None:
    if int(p * rank) == 0:
        with pytest.raises(AdapterError, match="gives no k"):
            layer_k(p, rank, "layer")
    else:
        assert layer_k(p, rank, "layer") == int(p * rank)


def test_overrides_give_layers_their_own_k_or_p() -> None:
    adapter = Adapter.new(FACTORS, p=0.5, overrides={"all": 3, "square": 0.9})
    assert adapter.ks == {"tall": 3, "wide": 5, "square": 9}
    assert adapter.p == 0.5


def test_layers_may_be_a_selection() -> None:
    assert Adapter.new(FACTORS, k=2, layers=["wide"]).ks == {"wide": 2}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"p": 0.5, "k": 3}, "exclude each other"),
        ({"k": 11}, r"k=11 gives no k within 1\.\.10"),
        ({"k": 0}, "k=0"),
        ({"p": 0.0}, "p=0.0"),
        ({"p": 1.5}, "p=1.5"),
        ({"p": 0.01}, "p=0.01"),
        ({"layers": ["nowhere"]}, "'nowhere' has no factors"),
        ({"layers": []}, "at least one layer"),
        ({"overrides": {"talll": 3}}, "'talll' matches no layer"),
        ({"rotation_map": "strict"}, "'strict' is not one of"),
    ],
)
def test_settings_that_fit_no_layer_are_refused_by_value(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(AdapterError, match=message):
        Adapter.new(FACTORS, **arguments)


@pytest.mark.parametrize("kind", MAPS)
def test_state_goes_out_and_in_unchanged(kind: RotationMap) -> None:
    source = train_at_random(Adapter.new(FACTORS, rotation_map=kind))
    target = Adapter.new(FACTORS, rotation_map=kind)
    target.load_state(source.state)
    for name, tensor in source.state.items():
        assert torch.equal(target.state[name], tensor)
    for name, made in source.cores().items():
        assert torch.equal(target.cores()[name], made)


def test_a_state_of_another_adapter_is_refused_and_changes_nothing() -> None:
    adapter = train_at_random(Adapter.new(FACTORS, k=4))
    before = {name: tensor.clone() for name, tensor in adapter.state.items()}
    other = Adapter.new(FACTORS, k=5).state
    missing = {name: tensor for name, tensor in before.items() if name != "wide.skew"}
    for bad in (other, missing, {**before, "more.skew": torch.zeros(6)}):
        with pytest.raises(AdapterError):
            adapter.load_state(bad)
        assert all(torch.equal(adapter.state[name], tensor) for name, tensor in before.items())


def test_module_state_dict_resumes_a_training_exactly() -> None:
    source = train_at_random(Adapter.new(FACTORS, p=0.6))
    target = Adapter.new(FACTORS, p=0.6)
    target.load_state_dict(source.state_dict())
    assert all(torch.equal(target.cores()[name], made) for name, made in source.cores().items())


def test_sigmas_are_the_bases_in_float64() -> None:
    adapter = Adapter.new(FACTORS, p=0.6)
    for name, sigma in adapter.sigmas.items():
        assert torch.equal(sigma, FACTORS[name].s[: adapter.ks[name]])
