"""Who can stand beside whom, and how large slots become."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from server.bank.slot_sizes import FIRST_DOMAINS, Plan, Room
from ssvd_asr.errors import AdapterError
from ssvd_asr.mixing.compression import Compression
from ssvd_asr.mixing.core_stack import CoreStack
from tests.server.toys import ToyModel

SMALL, LARGE = {"enc": 2}, {"enc": 8}
ROOM = Room(max_bytes=160 * 16, itemsize=4, compression=None)  # for 159 small ones, or 9 large ones


def stack(slots: int, sizes: Mapping[str, int]) -> CoreStack:
    return ToyModel().make_stack(slots, sizes)


def names(count: int, sizes: Mapping[str, int]) -> dict[str, Mapping[str, int]]:
    return {f"{index}": sizes for index in range(count)}


def test_a_slot_takes_what_a_stack_takes_for_it() -> None:
    compression = Compression(rank=3, relative_error=1.0)
    for sizes in ({"enc": 4}, {"enc": 9}, {"enc": 9, "dec": 6}):
        room = Room(10**6, 4, compression)
        made = CoreStack(ToyModel().layers, 2, sizes, compression=compression)
        assert room.slot_bytes(sizes) == made.slot_nbytes
        assert room.domains(sizes) == 10**6 // made.slot_nbytes - 1


def test_a_domain_that_could_not_stand_alone_is_told_the_setting() -> None:
    ROOM.check({"enc": 16})
    with pytest.raises(AdapterError, match=r"1600 bytes .* the limit is 2560 \(SSVD_BANK_MAX_BYTES\)"):
        ROOM.check({"enc": 16, "dec": 12})


@pytest.mark.parametrize(
    ("others", "slots", "wanted", "plan"),
    [
        ({}, None, SMALL, Plan([], (FIRST_DOMAINS + 1, SMALL))),
        (names(7, SMALL), (9, SMALL), SMALL, Plan(())),  # a slot is free
        (names(8, SMALL), (9, SMALL), SMALL, Plan([], (17, SMALL))),
        (names(128, SMALL), (129, SMALL), SMALL, Plan([], (160, SMALL))),
        (names(159, SMALL), (160, SMALL), SMALL, Plan(["158"])),
        (names(5, SMALL), (9, SMALL), LARGE, Plan([], (9, LARGE))),
        (names(10, SMALL), (17, SMALL), LARGE, Plan(["8", "9"], (10, LARGE))),
        (names(8, SMALL) | {"large": LARGE}, (10, LARGE), SMALL, Plan(["large"])),
        (names(9, SMALL), (10, LARGE), SMALL, Plan([], (19, SMALL))),  # the large one has left
        (names(1, {"dec": 16}), (2, {"dec": 16}), {"enc": 16}, Plan(["0"], (2, {"enc": 16}))),
    ],
)
def test_as_few_leave_as_possible_and_slots_are_as_large_as_needed(
    others: Mapping[str, Mapping[str, int]],
    slots: tuple[int, Mapping[str, int]] | None,
    wanted: Mapping[str, int],
    plan: Plan,
) -> None:
    assert ROOM.plan(wanted, others, None if slots is None else stack(*slots)) == plan


def test_slots_are_not_copied_for_little_more_room() -> None:
    ten, eleven = {"enc": 10}, {"enc": 11}
    room = Room(max_bytes=10 * 121 * 4, itemsize=4, compression=None)  # for 9 of eleven, 11 of ten
    assert room.plan(ten, names(9, ten), stack(10, eleven)) == Plan([], (12, ten))
    room = Room(max_bytes=9 * 121 * 4, itemsize=4, compression=None)  # for 8 of eleven, 9 of ten
    assert room.plan(ten, names(8, ten), stack(9, eleven)) == Plan(["7"])
