"""What fits is in slots: growing, larger cores and smaller ones cost nobody a slot who could have kept it."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from server.bank import device_tier as slots_module
from server.bank.device_tier import Slots, SlotsBusyError
from ssvd_asr.mixing.core_stack import CoreStack
from tests.server.fakes import LAYER
from tests.server.toys import (
    SLOT_BYTES,
    A,
    B,
    Toy,
    ToyModel,
    expand,
    mounted,
    read,
    resident,
    slots_for,
    stage,
    toys,
)


class Counting:
    """Expands toys, and counts how often each was."""

    def __init__(self) -> None:
        self.times: dict[str, int] = {}

    def __call__(self, toy: Any) -> Mapping[str, Tensor]:
        self.times[toy.name] = self.times.get(toy.name, 0) + 1
        return expand(toy)


@pytest.mark.parametrize("only_if_spare", [False, True])
def test_as_long_as_all_fit_all_are_in_slots_and_none_is_made_twice(only_if_spare: bool) -> None:
    count, hundred = Counting(), toys(100)
    slots = slots_for(159, expand=count)
    for toy in hundred:
        assert stage(slots, toy, only_if_spare=only_if_spare)
    assert resident(slots, hundred) == [toy.name for toy in hundred]
    assert set(count.times.values()) == {1}
    for toy in toys(60, name="other"):
        stage(slots, toy)
    assert slots.resident == 159
    assert slots.nbytes == slots.max_bytes
    assert slots.place("toy1") is None


def test_slots_grow_with_demand() -> None:
    slots, grown = slots_for(40), []
    for toy in toys(50):
        stage(slots, toy)
        if not grown or slots.nbytes != grown[-1] * SLOT_BYTES:
            grown.append(slots.nbytes // SLOT_BYTES)
    assert grown == [9, 17, 33, 41]


def test_all_stacks_that_are_alive_stay_within_the_memory() -> None:
    model, made, alive = ToyModel(), weakref.WeakSet[CoreStack](), list[int]()

    def make_stack(slots: int, k: Mapping[str, int]) -> CoreStack:
        stack = CoreStack(model.layers, slots, k, hot_bytes=0)
        made.add(stack)
        note()
        return stack

    def note() -> None:
        alive.append(sum(stack.slots * stack.slot_nbytes for stack in made))

    slots = Slots(make_stack, expand, bool, core_itemsize=4, max_bytes=51 * SLOT_BYTES)
    held, done = threading.Event(), threading.Event()

    def batch() -> None:
        with mounted(slots, [A, B]) as mount:
            held.set()
            assert done.wait(10)
            assert read(mount) == [1.0, 2.0]

    running = threading.Thread(target=batch)
    running.start()
    held.wait(10)
    waiting = threading.Thread(target=lambda: [stage(slots, toy) for toy in toys(60)])
    waiting.start()
    waiting.join(0.1)
    note()
    done.set()
    for thread in (running, waiting):
        thread.join(10)
    note()
    assert max(alive) <= slots.max_bytes
    assert slots.resident == 50


def test_growing_waits_for_the_batch_that_runs() -> None:
    slots, some = slots_for(12), toys(11)
    for toy in some[:8]:
        stage(slots, toy)
    ninth = threading.Thread(target=stage, args=(slots, some[8]))
    with mounted(slots, some[:2]) as mount:
        ninth.start()
        ninth.join(0.05)
        assert ninth.is_alive()
        assert read(mount) == [1.0, 2.0]
    ninth.join(10)
    assert not ninth.is_alive()
    with mounted(slots, some) as mount:
        assert read(mount) == [toy.value for toy in some]


def test_staging_ahead_does_not_wait_long_for_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots_module, "AHEAD_WAIT_S", 0.05)
    slots, some = slots_for(12), toys(9)
    with mounted(slots, some[:8]) as mount:
        began = time.monotonic()
        assert not stage(slots, some[8], only_if_spare=True)
        assert time.monotonic() - began < 5
        assert read(mount) == [toy.value for toy in some[:8]]
    assert stage(slots, some[8], only_if_spare=True)
    with mounted(slots, some) as mount:  # batches are let in again
        assert len(read(mount)) == 9


def test_a_larger_core_makes_room_for_itself_and_small_ones_live_beside_it() -> None:
    slots = slots_for(3, k=4)
    large = Toy("large", 7.0, k=4)
    stage(slots, A)
    with mounted(slots, [A, large, B]) as mount:
        assert read(mount) == [1.0, 7.0, 2.0]
        assert mount.stack is not None
        assert mount.stack.size(LAYER, mount.rows[0].slot) == 2


def test_a_large_domain_that_has_left_costs_no_slot() -> None:
    small, large = toys(159), Toy("large", 7.0, k=8)  # 16 times as many numbers
    slots = slots_for(159)
    assert slots.capacity({LAYER: 2}) == 159
    for toy in small[:20]:
        stage(slots, toy)
    stage(slots, large)
    assert resident(slots, [*small, large]) == [*(toy.name for toy in small[12:20]), "large"]
    assert slots.capacity() == 9
    for toy in small:
        assert stage(slots, toy)
        assert slots.nbytes <= slots.max_bytes
    assert slots.place("large") is None
    assert slots.capacity() == 159
    for toy in small:  # the first ones left while the large one was there
        assert stage(slots, toy)
    assert resident(slots, small) == [toy.name for toy in small]


def test_domains_that_stay_beside_a_large_one_are_not_made_again() -> None:
    count, small = Counting(), toys(20)
    slots = slots_for(159, expand=count)
    for toy in [*small, Toy("large", 7.0, k=8), *small[12:]]:
        stage(slots, toy)
    assert set(count.times.values()) == {1}


def test_staging_ahead_empties_no_slots_for_a_large_domain() -> None:
    slots, small, large = slots_for(159), toys(20), Toy("large", 7.0, k=8)
    for toy in small:
        stage(slots, toy)
    assert not stage(slots, large, only_if_spare=True)
    assert slots.resident == 20
    slots = slots_for(159)
    for toy in small[:8]:
        stage(slots, toy)
    assert stage(slots, large, only_if_spare=True)  # nobody has to leave
    assert slots.resident == 9


def test_domains_of_different_layers_that_fit_alone_are_served_one_after_the_other() -> None:
    encoder, decoder = Toy("encoder", 1.0, {"enc": 8}), Toy("decoder", 2.0, {"dec": 8})
    slots = slots_for(1, k=8)  # room for one of them beside the base's slot, not for both in one slot
    for _ in range(2):
        for toy in (encoder, decoder):
            slots.check_fits(toy.ks)
            assert stage(slots, toy)
            with mounted(slots, [toy, None]) as mount:
                assert read(mount) == [toy.value, 0.0]
                assert slots.nbytes <= slots.max_bytes
    assert slots.capacity({"enc": 8}) == 0
    with (
        pytest.raises(SlotsBusyError, match=r"2 domains .* takes 512 bytes.*SSVD_BANK_MAX_BYTES is 512"),
        mounted(slots, [encoder, decoder]),
    ):
        pass
    assert slots.place("decoder") is not None  # nobody left for what cannot be


def test_a_resize_that_fails_leaves_empty_slots_that_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    slots, some = slots_for(20), toys(12)
    for toy in some[:8]:
        stage(slots, toy)

    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("no room for more")

    with monkeypatch.context() as patched:
        patched.setattr(CoreStack, "resize", fail)
        with pytest.raises(torch.OutOfMemoryError):
            stage(slots, some[8])
    assert (slots.resident, slots.nbytes) == (0, 0)
    with mounted(slots, some) as mount:
        assert read(mount) == [toy.value for toy in some]
