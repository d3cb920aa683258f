"""Slots of cores: the base's is never written, one that is read is never written, refusals change nothing."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from torch import Tensor

from ssvd_asr.adapted_model import AdaptedModel, adapt
from ssvd_asr.errors import AdapterError
from ssvd_asr.mixing.compression import Compression
from ssvd_asr.mixing.hot_weights import HotWeights
from ssvd_asr.mixing.layer_cores import LayerCores
from ssvd_asr.mixing.mixture import CoreStack
from tests.ssvd_asr.toy import PATTERNS, Toy, inputs, toy_factors


@pytest.fixture
def adapted() -> AdaptedModel:
    model = Toy()
    return adapt(model, toy_factors(model), PATTERNS)


def square(k: int, seed: int = 0) -> Tensor:
    return torch.randn(k, k, generator=torch.Generator().manual_seed(seed))


def content(stack: CoreStack) -> dict[str, Tensor]:
    return {f"{name}{i}": part.clone() for name, parts in stack.parts.items() for i, part in enumerate(parts)}


def test_a_written_slot_holds_the_cores_padded_with_zeros_and_nothing_of_before(
    adapted: AdaptedModel,
) -> None:
    stack = CoreStack(adapted.layers, 3, 9)
    stack.write(1, {name: square(9) for name in PATTERNS})
    stack.write(1, {"tall": square(4, seed=1)})
    assert torch.equal(stack.core("tall", 1), square(4, seed=1))
    assert torch.equal(stack.parts["tall"][0][1, :4, :4], square(4, seed=1))
    assert stack.parts["tall"][0][1].count_nonzero() == 16
    assert not stack.parts["wide"][0][1].any()
    assert stack.touched([1]) == ["tall"]
    assert (stack.size("tall", 1), stack.size("wide", 1), stack.size("nowhere", 1)) == (4, 0, 0)


def test_memory_is_what_a_slot_says(adapted: AdaptedModel) -> None:
    stack = CoreStack(adapted.layers, 7, {"tall": 8, "wide": 3})
    assert stack.slot_nbytes == 4 * (8 * 8 + 3 * 3)
    assert sum(part.nbytes for parts in stack.parts.values() for part in parts) == 7 * stack.slot_nbytes
    assert CoreStack(adapted.layers, 2, 99).k == {"tall": 12, "wide": 10, "square": 10}


def test_cores_stand_in_the_models_dtype() -> None:
    adapted = adapt(Toy().to(torch.bfloat16), toy_factors(Toy()), PATTERNS)
    stack = CoreStack(adapted.layers, 2, 4)
    stack.write(1, {"tall": square(4).double()})
    assert torch.equal(stack.core("tall", 1), square(4).to(torch.bfloat16))


@pytest.mark.parametrize(
    ("slot", "cores", "named"),
    [
        (0, {"tall": square(2)}, "slot 0"),
        (3, {"tall": square(2)}, "slot 3.*1..2"),
        (-1, {}, "slot -1"),
        (1, {"tall": square(2), "head": square(2)}, "'head'"),
        (1, {"wide": square(2), "tall": square(10)}, r"tall.*\(10, 10\).*k <= 9"),
        (1, {"tall": torch.zeros(2, 3)}, r"\(2, 3\)"),
        (1, {"tall": torch.zeros(2, 2, 2)}, r"\(2, 2, 2\)"),
        (1, {"tall": torch.zeros(0, 0)}, r"\(0, 0\)"),
    ],
)
def test_a_refused_write_changes_nothing(
    adapted: AdaptedModel, slot: int, cores: dict[str, Tensor], named: str
) -> None:
    stack = CoreStack(adapted.layers, 3, 9)
    stack.write(1, {name: square(9) for name in PATTERNS})
    before = content(stack)
    with pytest.raises(AdapterError, match=named):
        stack.write(slot, cores)
    assert all(torch.equal(tensor, before[name]) for name, tensor in content(stack).items())
    assert stack.touched([1]) == list(PATTERNS)


@pytest.mark.parametrize(("slots", "k"), [(1, 4), (2, 0), (2, {"tall": 0}), (2, {"nowhere": 3})])
def test_a_stack_that_cannot_be_is_refused(
    adapted: AdaptedModel, slots: int, k: int | dict[str, int]
) -> None:
    with pytest.raises(AdapterError):
        CoreStack(adapted.layers, slots, k)


def test_a_slot_that_a_batch_reads_is_not_written_and_others_are(adapted: AdaptedModel) -> None:
    stack = CoreStack(adapted.layers, 4, 9)
    stack.write(1, {"tall": square(9)})
    with adapted.mixing(stack, [1, 0], "shared"):
        before = adapted.model(inputs(2))
        writer = threading.Thread(target=stack.write, args=(2, {"tall": square(9, seed=2)}))
        writer.start()
        writer.join()
        for write in (stack.clear, lambda slot: stack.write(slot, {})):
            with pytest.raises(RuntimeError, match="slot 1 is being read"):
                write(1)
        assert torch.equal(adapted.model(inputs(2)), before)
    stack.clear(1)
    assert stack.touched([1]) == []
    assert stack.touched([2]) == ["tall"]


def test_a_rewritten_slot_answers_as_its_new_domain_though_the_old_was_hot(adapted: AdaptedModel) -> None:
    stack = CoreStack(adapted.layers, 2, 9)
    for seed in (1, 2):
        stack.write(1, {"tall": square(9, seed)})
        with adapted.using({"tall": square(9, seed)}):
            expected = adapted.model(inputs(2))
        with adapted.mixing(stack, [1, 1], "merged"):
            for _ in range(2):
                assert torch.allclose(adapted.model(inputs(2)), expected, atol=1e-5)
        assert stack.hot.get("tall", 1) is not None
    stack.clear(1)
    assert stack.hot.nbytes == 0


def test_hot_weights_stay_within_their_budget_and_the_coldest_leave() -> None:
    hot, weight = HotWeights(3 * 64), torch.zeros(4, 4)  # 64 bytes each
    assert hot.builds("a", [1, 2], 64, 0.25) == (0.25, 0.25)
    assert hot.builds("a", [1, 2], 4 * 64, 0.25) == (1.0, 1.0)  # none would ever fit
    hot.warm([1, 1, 2, 3, 3, 3])
    for slot in (1, 2, 3):
        hot.offer("a", slot, weight)
    assert hot.nbytes == 192
    assert hot.builds("a", [3, 4], 64, 0.25) == (0.0, 1.0)  # 4 was never asked for
    hot.offer("a", 4, weight)
    assert hot.get("a", 4) is None
    hot.warm([4, 4])
    assert hot.builds("a", [3, 4], 64, 0.25) == (0.0, 0.25)
    hot.offer("a", 4, weight)
    assert [slot for slot in (1, 2, 3, 4) if hot.get("a", slot) is not None] == [1, 3, 4]
    hot.offer("a", 3, weight)
    assert hot.nbytes == 192
    assert hot.builds("b", [3], 10**6, 0.25) == (1.0,)
    hot.drop(3)
    assert hot.nbytes == 128


def test_old_fame_fades() -> None:
    hot, weight = HotWeights(64), torch.zeros(4, 4)
    hot.warm([1] * 8)
    hot.offer("a", 1, weight)
    hot.warm([2])
    assert hot.builds("b", [2], 64, 0.5) == (1.0,)
    for _ in range(20):
        hot.warm([2])
    assert hot.builds("b", [2], 64, 0.5) == (0.5,)


def low_rank(k: int, rank: int, noise: float) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    left, right = torch.randn(2, k, rank, generator=generator, dtype=torch.float64)
    return left @ right.mT + noise * torch.randn(k, k, generator=generator, dtype=torch.float64)


def test_a_compressed_stack_loses_what_it_states_and_refuses_to_lose_more(adapted: AdaptedModel) -> None:
    core = low_rank(9, 3, 1e-3)
    stack = CoreStack(adapted.layers, 2, 9, compression=Compression(rank=3, relative_error=2e-3))
    stack.write(1, {"tall": core})
    assert [tuple(part.shape) for part in stack.parts["tall"]] == [(2, 9, 3), (2, 3, 9)]
    assert 0.0 < float((stack.core("tall", 1) - core).norm() / core.norm()) < 2e-3
    x = inputs(3)
    with adapted.using({"tall": stack.core("tall", 1)}):
        expected = adapted.model(x)
    for form in ("shared", "grouped", "merged"):
        with adapted.mixing(stack, [1, 0, 1], form):
            assert torch.allclose(adapted.model(x)[[0, 2]], expected[[0, 2]], atol=1e-5)
    with pytest.raises(AdapterError, match=r"wide: rank 3 loses.*9 would hold it"):
        stack.write(1, {"tall": core, "wide": square(9)})
    assert stack.touched([1]) == ["tall"]


@pytest.mark.parametrize("k", [2, 3, 5, 6])
def test_a_core_that_compression_does_not_pay_for_is_exact_beside_larger_ones(
    adapted: AdaptedModel, k: int
) -> None:
    small, large = square(k, seed=2), low_rank(9, 3, 1e-3)
    stack = CoreStack(adapted.layers, 4, 9, compression=Compression(rank=3, relative_error=2e-3))
    stack.write(1, {"tall": small})
    stack.write(3, {"tall": large})
    assert stack.slot_nbytes == 3 * 4 * 2 * 9 * 3
    assert torch.equal(stack.core("tall", 1), small)
    x = inputs(4)
    for form in ("shared", "grouped", "merged", "auto"):
        for rows in ([1, 0, 3, 1], [3, 1, 1, 3], [1, 1, 1, 1], [3, 0, 3, 3]):
            with adapted.mixing(stack, rows, form):
                mixed = adapted.model(x)
            for row, slot in enumerate(rows):
                with adapted.using({"tall": stack.core("tall", slot)} if slot else {}):
                    assert torch.allclose(mixed[row], adapted.model(x[row : row + 1])[0], atol=1e-5)


def test_a_core_is_compressed_by_its_own_size_and_not_by_its_neighbours(adapted: AdaptedModel) -> None:
    compression = Compression(rank=3, relative_error=2e-3)
    for k, other in ((9, 9), (9, 4), (4, 9), (4, 4)):
        core = low_rank(k, 3, 1e-3)
        held = []
        for sizes in ([k], [k, other]):
            stack = CoreStack(adapted.layers, 3, max(sizes), compression=compression)
            for slot, size in enumerate(sizes, 1):
                stack.write(slot, {"tall": core if slot == 1 else low_rank(size, 3, 0.0)})
            held.append(stack.core("tall", 1).clone())
        assert torch.equal(*held)


def test_the_cost_model_hears_of_a_rank_only_where_all_cores_have_it(adapted: AdaptedModel) -> None:
    stack = CoreStack(adapted.layers, 4, 9, compression=Compression(rank=3, relative_error=1.0))
    stack.write(1, {"tall": square(9)})
    stack.write(2, {"tall": square(6)})
    assert [stack.rank("tall", slots) for slots in ([1], [1, 0], [1, 2], [2, 0])] == [3, 3, None, None]
    assert CoreStack(adapted.layers, 2, 9).rank("tall", [0]) is None


@pytest.mark.parametrize("compression", [None, Compression(rank=3, relative_error=1.0)])
@pytest.mark.parametrize(
    ("slots", "k", "moves"),
    [
        (9, {"tall": 9, "wide": 9}, {1: 1, 3: 3}),  # more slots
        (3, {"tall": 9, "wide": 9}, {1: 1, 3: 2}),  # fewer
        (4, {"tall": 12, "square": 4, "wide": 9}, {1: 1, 3: 3}),  # larger cores, and another layer
        (9, {"tall": 4}, {1: 8}),  # smaller ones, and a layer less
        (2, {"wide": 2}, {}),
    ],
)
def test_domains_that_stay_are_what_they_were_when_slots_and_sizes_change(
    adapted: AdaptedModel,
    compression: Compression | None,
    slots: int,
    k: dict[str, int],
    moves: dict[int, int],
) -> None:
    stack = CoreStack(adapted.layers, 4, {"tall": 9, "wide": 9}, compression=compression)
    stack.write(1, {"tall": square(4)})
    stack.write(2, {"wide": square(9)})
    stack.write(3, {"tall": square(9), "wide": square(5)})
    before = {
        (name, moves[slot]): stack.core(name, slot).clone()
        for slot in moves
        for name in stack.touched([slot])
    }
    stack.resize(slots, k, moves)
    assert (stack.slots, stack.k) == (slots, k)
    assert sum(part.nbytes for parts in stack.parts.values() for part in parts) == slots * stack.slot_nbytes
    for (name, slot), core in before.items():
        assert torch.equal(stack.core(name, slot), core)
    for slot in set(range(slots)) - set(moves.values()):
        assert stack.touched([slot]) == []
    stack.write(slots - 1, {name: square(size) for name, size in k.items()})
    for name, size in k.items():
        if compression is None or not compression.pays(size):
            assert torch.equal(stack.core(name, slots - 1), square(size))


def test_a_device_without_room_for_both_is_resized_by_way_of_the_host(
    adapted: AdaptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack, tried = CoreStack(adapted.layers, 3, {"tall": 9}), list[int]()
    stack.write(2, {"tall": square(9)})
    whole = LayerCores._moved

    def full_once(self: LayerCores, *given: Any) -> Any:
        tried.append(len(self.sizes))
        if len(tried) == 1:
            raise torch.OutOfMemoryError("17 GiB")
        return whole(self, *given)

    monkeypatch.setattr(LayerCores, "_moved", full_once)
    stack.resize(9, {"tall": 12}, {2: 5})
    assert tried == [9, 9]
    assert torch.equal(stack.core("tall", 5), square(9))


def test_a_core_of_its_own_size_is_whole_or_in_halves_and_the_same_numbers(adapted: AdaptedModel) -> None:
    stack = CoreStack(adapted.layers, 3, 4, compression=Compression(rank=3, relative_error=1.0))
    stack.write(1, {"tall": square(4)})
    for k, parts in ((12, 2), (4, 1), (7, 2), (6, 1)):
        stack.resize(3, {"tall": k}, {1: 1})
        assert len(stack.parts["tall"]) == parts
        assert torch.equal(stack.core("tall", 1), square(4))


def test_a_resize_that_cannot_be_changes_nothing(adapted: AdaptedModel) -> None:
    stack = CoreStack(adapted.layers, 3, 9)
    stack.write(2, {"tall": square(9)})
    before = content(stack)
    for slots, k, moves in [
        (1, {"tall": 9}, {}),
        (3, {"nowhere": 9}, {}),
        (3, {"tall": 8}, {2: 2}),
        (3, {"wide": 9}, {2: 2}),
        (2, {"tall": 9}, {2: 2}),
        (3, {"tall": 9}, {2: 0}),
    ]:
        with pytest.raises(AdapterError):
            stack.resize(slots, k, moves)
    with adapted.mixing(stack, [2]), pytest.raises(RuntimeError, match="a batch is reading"):
        stack.resize(4, {"tall": 9}, {2: 2})
    assert (stack.slots, all(torch.equal(each, before[name]) for name, each in content(stack).items())) == (
        3,
        True,
    )


def test_merged_weights_stay_with_the_domains_that_keep_their_slot(adapted: AdaptedModel) -> None:
    stack = CoreStack(adapted.layers, 5, 9)
    for slot in (1, 2, 3):
        stack.write(slot, {"tall": square(9, slot)})
        with adapted.mixing(stack, [slot, slot], "merged"):
            for _ in range(2):
                adapted.model(inputs(2))
    stack.resize(4, {"tall": 9}, {1: 1, 3: 2})
    assert [slot for slot in range(5) if stack.hot.get("tall", slot) is not None] == [1]
