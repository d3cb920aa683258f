"""Rows of any domains in one batch: every form gives each row what it gets alone."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from ssvd_asr.adapted_model import AdaptedModel, adapt
from ssvd_asr.adapter.adapter import Adapter
from ssvd_asr.errors import AdapterError
from ssvd_asr.layer.product_cost import DeviceSpeed
from ssvd_asr.mixing import cost, mixture
from ssvd_asr.mixing.cost import FORMS
from ssvd_asr.mixing.mixture import CoreStack, Form
from tests.ssvd_asr.toy import PATTERNS, Toy, inputs, toy_factors, train_at_random

SLOTS = 6
ANY_FORM = [*FORMS, "auto"]


@pytest.fixture
def adapted() -> AdaptedModel:
    model = Toy().double()
    return adapt(model, toy_factors(model), PATTERNS)


def cores_of(slot: int) -> dict[str, Tensor]:
    """Domains of different size and map; number 3 leaves one layer out."""
    k = {1: 9, 2: 4, 3: 6, 4: 9}[slot]
    adapter = Adapter.new(toy_factors(Toy()), k=k, rotation_map="cayley" if slot % 2 else "free")
    cores = train_at_random(adapter, seed=slot).cores()
    if slot == 3:
        del cores["wide"]
    return {name: core.detach() for name, core in cores.items()}


@pytest.fixture
def stack(adapted: AdaptedModel) -> CoreStack:
    """Slots 1 to 4 are domains, 5 is empty."""
    made = CoreStack(adapted.layers, SLOTS, 9)
    for slot in range(1, 5):
        made.write(slot, cores_of(slot))
    return made


def alone(adapted: AdaptedModel, rows: tuple[int, ...], x: Tensor) -> Tensor:
    outputs = []
    for row, slot in enumerate(rows):
        with adapted.using(cores_of(slot) if slot in (1, 2, 3, 4) else None):
            outputs.append(adapted.model(x[row : row + 1]))
    return torch.cat(outputs)


BATCHES = [
    (1, 2, 3, 4), (4, 3, 2, 1, 0), (0, 0, 1, 2), (2, 0, 2, 1, 0, 2), (3, 3, 3), (1,), (5, 3, 0, 5),
    (2, 1, 2, 1), (4, 4, 1, 1, 2, 2), (1, 1, 1, 2, 3, 3, 0, 4), (0, 5),
]  # fmt: skip


@pytest.mark.parametrize("form", ANY_FORM)
@pytest.mark.parametrize("rows", BATCHES, ids=str)
@pytest.mark.parametrize("hot_bytes", [0, 2_000, 10**6])
def test_each_row_is_as_alone_in_every_form(
    adapted: AdaptedModel, form: Form, rows: tuple[int, ...], hot_bytes: int
) -> None:
    stack = CoreStack(adapted.layers, SLOTS, 9, hot_bytes=hot_bytes)
    for slot in range(1, 5):
        stack.write(slot, cores_of(slot))
    x = inputs(len(rows)).double()
    expected = alone(adapted, rows, x)
    with adapted.mixing(stack, rows, form):
        for _ in range(3):  # with W' kept from the call before, and cores gathered
            assert torch.allclose(adapted.model(x), expected, atol=1e-12)
        one_vector = adapted.model(x[:, 0])
    assert torch.allclose(one_vector, expected[:, 0], atol=1e-12)


@pytest.mark.parametrize("block_bytes", [1, 10**4])
def test_weights_built_together_or_one_by_one_are_the_same(
    adapted: AdaptedModel, monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    monkeypatch.setattr("ssvd_asr.mixing.mixture.BLOCK_BYTES", block_bytes)
    stack = CoreStack(adapted.layers, SLOTS, 9, hot_bytes=0)
    for slot in range(1, 5):
        stack.write(slot, cores_of(slot))
    rows = (1, 2, 3, 4, 1, 2, 4)
    x = inputs(len(rows)).double()
    expected = alone(adapted, rows, x)
    with adapted.mixing(stack, rows, "merged"):
        assert torch.allclose(adapted.model(x), expected, atol=1e-12)


def speeds_that_favour(monkeypatch: pytest.MonkeyPatch, operations: float, size: float, call: float) -> None:
    monkeypatch.setattr(mixture, "device_speed", lambda *_: DeviceSpeed(operations, size, call))


def test_auto_mixes_forms_within_a_batch_and_stays_exact(
    adapted: AdaptedModel, stack: CoreStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    speeds_that_favour(monkeypatch, 1e9, 1e15, 0.0)  # operations alone count: many rows merge, few do not
    rows = (1,) * 12 + (2, 0)
    x = inputs(len(rows), steps=2).double()
    expected = alone(adapted, rows, x)
    with adapted.mixing(stack, rows):
        layer = adapted.layers["tall"].mixed
        assert layer is not None
        choice = layer.consider(2)
        assert choice.merged == (0,)
        assert torch.allclose(adapted.model(x), expected, atol=1e-12)


@pytest.mark.parametrize("form", ANY_FORM)
def test_rows_that_leave_and_change_places_take_their_domain_along(
    adapted: AdaptedModel, stack: CoreStack, form: Form
) -> None:
    rows, x = (1, 0, 2, 4, 3), inputs(5).double()
    expected = alone(adapted, rows, x)
    with adapted.mixing(stack, rows, form) as mixed:
        adapted.model(x)
        order = [4, 0, 0, 2]
        mixed.keep(order)
        assert mixed.slots == (3, 1, 1, 2)
        assert torch.equal(mixed.rows, torch.tensor([3, 1, 1, 2]))
        assert torch.allclose(adapted.model(x[order]), expected[order], atol=1e-12)
        mixed.keep([1, 2])
        assert torch.allclose(adapted.model(x[[0, 0]]), expected[[0, 0]], atol=1e-12)
        mixed.put(rows)
        assert torch.allclose(adapted.model(x), expected, atol=1e-12)


@pytest.mark.parametrize("form", ANY_FORM)
@pytest.mark.parametrize("rows", [(0, 0, 0), (5, 0, 5)])
def test_a_batch_of_the_base_is_exactly_the_plain_model(
    adapted: AdaptedModel, stack: CoreStack, form: Form, rows: tuple[int, ...]
) -> None:
    x = inputs(3).double()
    plain = adapted.model(x)
    with adapted.mixing(stack, rows, form):
        assert all(layer.mixed is None for layer in adapted.layers.values())
        assert torch.equal(adapted.model(x), plain)


def test_rows_of_the_base_in_a_mixed_batch_are_exactly_the_plain_rows(
    adapted: AdaptedModel, stack: CoreStack
) -> None:
    x = inputs(4).double()
    plain = adapted.model(x)
    for rows in itertools.permutations((0, 0, 1, 2)):
        with adapted.mixing(stack, rows, "shared"):
            mixed = adapted.model(x)
        for row, slot in enumerate(rows):
            assert torch.equal(mixed[row], plain[row]) == (slot == 0)


def test_a_layer_that_no_row_adapts_stays_the_plain_layer(adapted: AdaptedModel, stack: CoreStack) -> None:
    with adapted.mixing(stack, (3, 0, 3)):
        assert [name for name, layer in adapted.layers.items() if layer.mixed is None] == ["wide"]


def test_a_batch_of_other_rows_is_refused_and_the_layers_come_back_plain(
    adapted: AdaptedModel, stack: CoreStack
) -> None:
    x = inputs(3).double()
    plain = adapted.model(x)
    with pytest.raises(AdapterError, match="2 rows for a batch of 3"), adapted.mixing(stack, (1, 2)):
        adapted.model(x)
    assert torch.equal(adapted.model(x), plain)
    with adapted.mixing(stack, (1, 2, 3)):
        with pytest.raises(RuntimeError, match="open already"), adapted.mixing(stack, (1,)):
            pass
        with pytest.raises(RuntimeError, match="open already"), adapted.using(None):
            pass
        assert not torch.equal(adapted.model(x), plain)
    for rows, form in (((6,), "auto"), ((-1,), "auto"), ((1,), "fastest")):
        with pytest.raises(AdapterError), adapted.mixing(stack, rows, form):  # type: ignore[arg-type]
            pass
    assert torch.equal(adapted.model(x), plain)


def test_a_stack_of_another_model_is_refused(stack: CoreStack) -> None:
    model = Toy().double()
    other = adapt(model, {"tall": toy_factors(Toy())["tall"]}, ("tall",))
    with pytest.raises(AdapterError, match="no adapted layer 'wide'"), other.mixing(stack, (1,)):
        pass
    with other.mixing(stack, (0,)):  # the base needs no core
        pass


def test_mixing_asks_for_no_gradients(adapted: AdaptedModel, stack: CoreStack) -> None:
    with adapted.mixing(stack, (1, 2, 0)):
        assert not adapted.model(inputs(3).double().requires_grad_()).requires_grad
    assert torch.is_grad_enabled()


def test_a_call_that_comes_often_is_worth_building_a_weight_for(
    adapted: AdaptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    speeds_that_favour(monkeypatch, 1e9, 1e15, 0.0)
    stack = CoreStack(adapted.layers, SLOTS, 9)
    stack.write(1, cores_of(1))
    x = inputs(2).double()[:, 0]
    with adapted.mixing(stack, (1, 1)):
        adapted.model(x)
        assert stack.hot.nbytes == 0  # two vectors do not pay for a weight
        for _ in range(63):
            found = adapted.model(x)
        assert stack.hot.nbytes > 0
    assert torch.allclose(found, alone(adapted, (1, 1), x), atol=1e-12)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[cost.Work]:
    """What the cost model is asked."""
    found: list[cost.Work] = []

    def count(work: cost.Work, speed: DeviceSpeed) -> cost.Choice:
        found.append(work)
        return cost.choose_form(work, speed)

    monkeypatch.setattr(mixture, "choose_form", count)
    return found


def test_the_choice_is_remembered_not_computed_at_every_call(
    adapted: AdaptedModel, stack: CoreStack, asked: list[cost.Work]
) -> None:
    with adapted.mixing(stack, (1, 2, 4)) as mixed:
        for _ in range(64):
            adapted.model(inputs(3).double())
        before = len(asked)
        assert len(PATTERNS) <= before <= 7 * len(PATTERNS)  # at calls 1, 2, 4, ... 64
        mixed.keep([0, 1, 2])
        adapted.model(inputs(3).double())
        assert len(asked) == before
        mixed.keep([0, 1])
        adapted.model(inputs(2).double())
        assert len(asked) == before + len(PATTERNS)


def test_a_choice_outlives_the_few_rows_that_leave_but_not_a_slot_that_comes(
    adapted: AdaptedModel, stack: CoreStack, asked: list[cost.Work]
) -> None:
    rows, x = (1, 2, 4, 3, 1, 2, 4, 0), inputs(8).double()
    expected = alone(adapted, rows, x)
    with adapted.mixing(stack, rows) as mixed:
        adapted.model(x)
        adapted.model(x)
        before = len(asked)
        for kept in ([0, 1, 2, 3, 4, 5, 6], [0, 1, 2, 4, 5, 6]):  # 7 and 6 rows of 8
            mixed.put([rows[index] for index in kept])
            assert torch.allclose(adapted.model(x[kept]), expected[kept], atol=1e-12)
        adapted.model(x[kept])  # the fourth call
        after = len(asked)
        assert after == before + len(PATTERNS)
        mixed.put([1, 2, 1, 2, 1, 4])
        adapted.model(x[:6])
        assert len(asked) == after
        mixed.put([1, 2, 1, 2, 1, 3])
        adapted.model(x[:6])
        assert len(asked) == after + len(PATTERNS) - 1  # slot 3 leaves a layer out
