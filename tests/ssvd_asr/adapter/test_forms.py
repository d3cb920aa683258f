"""What each form makes of its numbers, against its formula written out, and where it changes a weight."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ssvd_asr.adapted_model import adapt
from ssvd_asr.adapter.adapter import Adapter
from ssvd_asr.adapter.budget import ks_within
from ssvd_asr.adapter.forms import BUDGET_RULES, BudgetRule, CoreForm, band_size
from ssvd_asr.adapter.rotation import rotation_delta
from ssvd_asr.adapter.sparsity import fixed_positions, from_mask, mask_bytes, to_mask, top_positions
from ssvd_asr.errors import AdapterError
from ssvd_asr.mixing.core_stack import CoreStack
from tests.ssvd_asr.forms import FACTORS, FORMS, SECOND, new_adapter, trained
from tests.ssvd_asr.toy import PATTERNS, Toy, inputs


def written_out(adapter: Adapter, name: str) -> Tensor:
    """W' - W (m, n) of one layer, as its method's paper prints it, in float64."""
    form, factors, state = adapter.form, FACTORS[name], adapter.state
    k, start = adapter.ks[name], adapter.starts[name]
    parts = {part: state[f"{name}.{form.key(part)}"].double() for part in form.shapes(k)}
    u, s, vh = factors.u[:, start : start + k], factors.s[start : start + k], factors.vh[start : start + k]
    if form.map == "lora-xs":
        return u @ s.diag() @ parts["rotation"] @ vh
    if not form.is_ssvd:
        m = torch.zeros(k * k, dtype=torch.float64)
        m[adapter.positions[name].long()] = parts["values"]
        return u @ m.view(k, k) @ vh
    identity = torch.eye(k, dtype=torch.float64)
    inner = identity + rotation_delta(form.map, parts["rotation"])
    outer = identity + rotation_delta(form.map, parts["outer"]) if form.outer else identity
    scaled = (s + parts.get("delta_sigma", torch.zeros(k))).diag()
    return u @ (outer @ scaled @ inner - s.diag()) @ vh


@pytest.mark.parametrize("name", list(FORMS))
def test_the_core_is_the_papers_formula(name: str) -> None:
    adapter = trained(name).double()
    for layer, core in adapter.cores().items():
        size = adapter.spans[layer]
        assert core.shape == (size, size)
        made = FACTORS[layer].u[:, :size] @ core.detach() @ FACTORS[layer].vh[:size]
        torch.testing.assert_close(made, written_out(adapter, layer), rtol=1e-9, atol=1e-9)
        assert made.abs().max() > 1e-2


@pytest.mark.parametrize("name", list(FORMS))
def test_untrained_it_is_exactly_the_base_and_trained_it_is_not(name: str) -> None:
    model, x = Toy(), inputs()
    expected = model(x)
    adapted = adapt(model, FACTORS, PATTERNS)
    with torch.no_grad():
        with adapted.using(new_adapter(name).cores()):
            assert torch.equal(model(x), expected)
        with adapted.using(trained(name).cores()):
            assert (model(x) - expected).abs().max() > 1e-3


@pytest.mark.parametrize("name", SECOND)
def test_every_number_of_a_form_has_a_gradient(name: str) -> None:
    adapter = trained(name)
    loss = torch.stack([core.square().sum() for core in adapter.cores().values()]).sum()
    loss.backward()
    for parameter in adapter.parameters():
        assert parameter.grad is not None
        assert (parameter.grad != 0).float().mean() > 0.9


def test_tail_directions_leave_the_head_alone() -> None:
    for layer, core in trained("tail").cores().items():
        factors = FACTORS[layer]
        start = factors.cut - 4
        assert not core[:start].any()
        assert not core[:, :start].any()
        assert core[start:, start:].any()
        assert core.shape[0] == factors.cut


def test_a_mixed_batch_of_all_forms_gives_each_row_what_it_gets_alone() -> None:
    model, x = Toy(), inputs(rows=len(FORMS))
    adapted = adapt(model, FACTORS, PATTERNS)
    stack = CoreStack(adapted.layers, slots=len(FORMS) + 1, k=12)
    adapters = [trained(name, seed) for seed, name in enumerate(FORMS)]
    for slot, adapter in enumerate(adapters, start=1):
        stack.write(slot, adapter.cores())
    rows = list(range(1, len(FORMS) + 1))
    with torch.no_grad():
        with adapted.mixing(stack, rows):
            mixed = model(x)
        for row, adapter in enumerate(adapters):
            with adapted.using(adapter.cores()):
                torch.testing.assert_close(mixed[row], model(x[row : row + 1])[0], rtol=1e-5, atol=1e-5)


def test_patterns_of_svft() -> None:
    k, d = 7, 2
    band = fixed_positions(CoreForm("svft-banded", off_diagonals=d), "any", k)
    rows, columns = band.long() // k, band.long() % k
    assert ((rows - columns).abs() <= d).all()
    assert len(band) == band_size(k, d) == sum(k - abs(i) for i in range(-d, d + 1))
    assert fixed_positions(CoreForm("svft-plain"), "any", k).tolist() == [i * (k + 1) for i in range(k)]
    random = CoreForm("svft-random", off_diagonals=d)
    here, there = fixed_positions(random, "encoder.a", k), fixed_positions(random, "encoder.b", k)
    assert len(here.unique()) == len(here) == band_size(k, d)
    assert not torch.equal(here, there)  # and the same in every version:
    assert fixed_positions(random, "encoder.a", k).tolist()[:9] == RANDOM_START
    assert len(fixed_positions(CoreForm("svft-random", off_diagonals=99), "any", k)) == k * k


RANDOM_START = [0, 1, 2, 5, 6, 7, 8, 9, 11]


def test_top_k_takes_the_vectors_that_are_aligned_most() -> None:
    square = FACTORS["square"]
    strength = (square.u.mT @ square.vh.mT).abs().flatten()
    chosen = torch.zeros_like(strength, dtype=torch.bool)
    chosen[top_positions(square, 10, 2).long()] = True
    assert strength[chosen].min() >= strength[~chosen].max()
    for name in ("tall", "wide"):
        positions = top_positions(FACTORS[name], FACTORS[name].rank, 1)
        assert len(positions.unique()) == band_size(FACTORS[name].rank, 1)
        assert (positions.diff() > 0).all()


@pytest.mark.parametrize("k", [1, 3, 8, 10])
def test_a_mask_gives_its_positions_back_and_refuses_others(k: int) -> None:
    positions = fixed_positions(CoreForm("svft-random", off_diagonals=1), "any", k)
    mask = to_mask(positions, k)
    assert len(mask) == mask_bytes(k)
    assert torch.equal(from_mask(mask, k, len(positions)), positions)
    with pytest.raises(AdapterError, match="entries"):
        from_mask(mask, k, len(positions) - 1)
    if k * k % 8:
        mask[-1] |= 1  # the last bit lies outside k x k
        with pytest.raises(AdapterError, match="outside"):
            from_mask(mask, k, len(positions) + 1)


@pytest.mark.parametrize("rule", BUDGET_RULES)
def test_a_budget_is_kept_and_nearly_used(rule: BudgetRule) -> None:
    form = CoreForm("first-order")
    for budget in (5, 40, 90, 100_000):
        ks = ks_within(budget, FACTORS, form, rule)
        assert sum(form.parameters(k) for k in ks.values()) <= budget
        assert all(1 <= k <= FACTORS[name].cut for name, k in ks.items())
    assert ks == {name: factors.cut for name, factors in FACTORS.items()}
    one_more = {name: k + 1 for name, k in ks_within(90, FACTORS, form, rule).items()}
    assert sum(form.parameters(k) for k in one_more.values()) > 90
    with pytest.raises(AdapterError, match="too small"):
        ks_within(0, FACTORS, form, rule)


def test_a_budget_by_energy_gives_tails_the_energy_that_their_own_directions_hold() -> None:
    factors = {
        name: replace(FACTORS["square"], s=torch.tensor(sigma, dtype=torch.float64), cut=len(sigma))
        for name, sigma in (("falling", [8.0, 4.0, 2.0, 1.0]), ("level", [1.0, 0.99, 0.98, 0.97]))
    }
    form = CoreForm("lora-xs")
    # Of 85, the first holds 64 and the last three 1, 5 and 21; each direction of the other about a quarter.
    assert ks_within(9, factors, form, "energy", "tail") == {"falling": 2, "level": 1}
    assert ks_within(9, factors, form, "energy", "head") == {"falling": 1, "level": 2}


def test_forms_that_cannot_be_are_refused() -> None:
    for choices, message in (
        ({"map": "strict"}, "'strict' is not one of"),
        ({"map": "lora-xs", "outer": True}, "outer rotation"),
        ({"map": "svft-plain", "delta_sigma": False}, "delta_sigma"),
        ({"map": "svft-banded"}, "off_diagonals=0"),
        ({"map": "first-order", "off_diagonals": 2}, "off_diagonals=2"),
    ):
        with pytest.raises(AdapterError, match=message):
            CoreForm(**choices)  # type: ignore[arg-type]
