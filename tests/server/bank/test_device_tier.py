"""Slots: a mounted version is never touched, a failed load costs nobody anything."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from server.bank.device_tier import Slots, SlotsBusyError
from ssvd_asr.errors import AdapterError
from ssvd_asr.mixing.core_stack import CoreStack
from tests.server.fakes import LAYER
from tests.server.toys import A, B, C, Toy, ToyModel, expand, mounted, read, slots_for, stage


def test_rows_of_a_batch_read_their_own_versions_and_the_base() -> None:
    slots = slots_for(4)
    with mounted(slots, [B, None, A, B]) as mount:
        assert read(mount) == [2.0, 0.0, 1.0, 2.0]
    with mounted(slots, [None, None]) as mount:
        assert mount.stack is None
        assert mount.launch() == [0, 0]


def test_the_least_recently_used_leaves_and_what_is_mounted_stays() -> None:
    slots = slots_for(2)
    with mounted(slots, [A]) as mount:
        for toy in (B, C, B, C):
            assert stage(slots, toy)
            assert read(mount) == [1.0]
        assert slots.place("b") is None
    assert slots.place("a") is not None
    assert stage(slots, B)
    assert slots.place("a") is None  # c was used after it


def test_every_slot_being_mounted_nothing_else_is_staged() -> None:
    slots = slots_for(2)
    with mounted(slots, [A, B]) as mount:
        assert not stage(slots, C)
        assert read(mount) == [1.0, 2.0]
    assert stage(slots, C)


def test_staging_ahead_spares_what_waiting_requests_lease_and_a_batch_does_not() -> None:
    slots = slots_for(2, leased=lambda name: name in ("a", "b"))
    assert stage(slots, A)
    assert stage(slots, B)
    assert not stage(slots, C, only_if_spare=True)
    with mounted(slots, [C]) as mount:
        assert read(mount) == [3.0]


def test_the_unleased_leave_before_the_leased() -> None:
    slots = slots_for(2, leased=lambda name: name == "a")
    stage(slots, A)
    stage(slots, B)
    stage(slots, C)
    assert slots.place("a") is not None
    assert slots.place("b") is None


def test_more_domains_than_slots_in_one_batch_are_told() -> None:
    slots = slots_for(2)
    with (
        pytest.raises(SlotsBusyError, match=r"3 domains .* \(SSVD_BANK_MAX_BYTES is 48\)"),
        mounted(slots, [A, B, C]),
    ):
        pass
    with mounted(slots, [A, C]) as mount:
        assert read(mount) == [1.0, 3.0]


def test_an_adapter_that_could_never_fit_is_refused_with_the_setting() -> None:
    with pytest.raises(AdapterError, match=r"16 bytes on the device.*limit is 31 \(SSVD_BANK_MAX_BYTES\)"):
        Slots(ToyModel().make_stack, expand, bool, core_itemsize=4, max_bytes=31).check_fits(A.ks)


def test_a_load_that_fails_while_expanding_evicts_nobody() -> None:
    broken = True

    def failing(toy: Any) -> Mapping[str, Tensor]:
        if broken and toy is C:
            raise AdapterError("half of it is missing")
        return expand(toy)

    slots = slots_for(2, expand=failing)
    stage(slots, A)
    stage(slots, B)
    with pytest.raises(AdapterError, match="half of it"):
        stage(slots, C)
    with mounted(slots, [A, B]) as mount:
        assert read(mount) == [1.0, 2.0]
    broken = False
    assert stage(slots, C)


def test_a_load_that_fails_half_way_through_writing_is_seen_by_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slots = slots_for(2)
    stage(slots, A)
    stage(slots, B)
    write = CoreStack.write

    def half(stack: CoreStack, slot: int, _: Mapping[str, Tensor]) -> None:
        write(stack, slot, {LAYER: torch.full((1, 1), 99.0)})
        raise torch.OutOfMemoryError("half-way")

    with monkeypatch.context() as patched:
        patched.setattr(CoreStack, "write", half)
        with pytest.raises(torch.OutOfMemoryError):
            stage(slots, C)
    assert slots.place("c") is None
    with mounted(slots, [B, C]) as mount:
        assert read(mount) == [2.0, 3.0]


def test_a_slot_that_changed_hands_is_seen_at_launch() -> None:
    slots = slots_for(1)
    with mounted(slots, [A]) as mount:
        slots._mounted.clear()  # as if the lease had been lost
        stage(slots, B)
        with pytest.raises(RuntimeError, match="slot 1 no longer holds a"):
            mount.launch()


def test_the_same_slot_with_the_same_version_again_is_another_generation() -> None:
    slots = slots_for(1)
    with mounted(slots, [A]) as mount:
        slots._mounted.clear()
        stage(slots, B)
        stage(slots, A)
        with pytest.raises(RuntimeError, match="slot 1 no longer holds a"):
            mount.launch()


def test_batches_and_loads_at_once_always_read_their_own() -> None:
    slots = slots_for(6)
    toys = [Toy(f"toy{value}", float(value), k=1 + value % 2) for value in range(1, 13)]
    done = threading.Event()
    errors: list[BaseException] = []

    def load(seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        try:
            while not done.is_set():
                stage(
                    slots,
                    toys[int(torch.randint(12, (1,), generator=generator))],
                    only_if_spare=bool(seed % 2),
                )
        except BaseException as error:
            errors.append(error)

    loaders = [threading.Thread(target=load, args=(seed,)) for seed in range(3)]
    for thread in loaders:
        thread.start()
    generator = torch.Generator().manual_seed(99)
    try:
        for _ in range(150):
            chosen = [toys[i] for i in torch.randint(12, (5,), generator=generator).tolist()]
            try:
                with mounted(slots, chosen) as mount:
                    assert read(mount) == [toy.value for toy in chosen]
            except SlotsBusyError:  # the loaders took a slot again and again; the engine halves the batch
                continue
    finally:
        done.set()
        for thread in loaders:
            thread.join(10)
    assert errors == []
    assert not slots._mounted


def test_waiting_for_no_batch_ends_with_the_last_batch_or_the_time() -> None:
    slots = slots_for(2)
    slots.wait_unmounted(10.0)  # none is: at once
    with mounted(slots, [A]):
        began = time.monotonic()
        slots.wait_unmounted(0.05)
        assert time.monotonic() - began >= 0.05
        waiting = threading.Thread(target=slots.wait_unmounted, args=(30.0,))
        waiting.start()
    waiting.join(10)
    assert not waiting.is_alive()
