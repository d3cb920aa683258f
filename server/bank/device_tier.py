"""First tier: assigns versions to the slots of the device's `CoreStack`.

A batch mounts the versions of its rows: their slots are not written until it is done. All others may be
evicted, the least recently used first, and those leased by waiting requests last. The stack grows with the
demand, up to its memory limit. Its slots are as large as the versions in them need. It is resized between two
batches if a larger version comes, or if more would fit after the largest has left.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from torch import Tensor

from server.bank.mount import BASE_ROW, Mount, Place, Row
from server.bank.packed import PackedAdapter
from server.bank.slot_sizes import Plan, Room, Sizes, joined
from server.tally import SLOT_EVICTIONS, SLOT_HITS, SLOT_SWAPS, Tally
from ssvd_asr.errors import SsvdError
from ssvd_asr.mixing.compression import Compression
from ssvd_asr.mixing.core_stack import CoreStack

logger = logging.getLogger(__name__)

ATTEMPTS = 4  # tries to have all domains of a batch in slots at once
AHEAD_WAIT_S = 1.0  # how long staging ahead waits for a batch to end before it resizes the stack

MakeStack = Callable[[int, Mapping[str, int]], CoreStack]


class SlotsBusyError(SsvdError):
    """More domains at once than there are slots."""


@dataclass(eq=False)
class _Resident:
    place: Place
    sizes: Sizes  # residents of one shape share the object


class Slots:
    """The slots. Thread-safe. Stages one version at a time and never changes a mounted one."""

    def __init__(
        self,
        make_stack: MakeStack,
        expand: Callable[[PackedAdapter], Mapping[str, Tensor]],
        leased: Callable[[str], bool],
        *,
        core_itemsize: int,
        max_bytes: int,
        compression: Compression | None = None,
        tally: Tally | None = None,
    ) -> None:
        """Take no memory yet.

        Args:
            expand: makes the cores of a version on the device.
            leased: tells whether a waiting request holds a version, by digest.
            compression: that of the stacks from `make_stack`.
        """
        self.max_bytes = max_bytes
        self._tally = tally or Tally()
        self._make_stack = make_stack
        self._expand = expand
        self._leased = leased
        self._room = Room(max_bytes, core_itemsize, compression)
        self._stack: CoreStack | None = None
        self._residents: OrderedDict[str, _Resident] = OrderedDict()  # least recently used first
        self._free: list[int] = []
        self._mounted: Counter[str] = Counter()
        self._generations = itertools.count(1)
        self._changed = threading.Condition()  # guards everything above
        self._closed_for_change = False  # no batch may begin
        self._staging = threading.RLock()  # held while slots change; never inside `mounted`

    @property
    def nbytes(self) -> int:
        """Memory of the stack, in bytes."""
        stack = self._stack
        return 0 if stack is None else stack.slots * stack.slot_nbytes

    @property
    def resident(self) -> int:
        """How many versions are in slots."""
        return len(self._residents)

    def place(self, sha256: str) -> Place | None:
        """Return the slot of a version, or None if it has none."""
        with self._changed:
            return self._residents[sha256].place if sha256 in self._residents else None

    def capacity(self, sizes: Sizes | None = None) -> int:
        """Return how many domains fit in slots large enough for all residents and for these sizes."""
        with self._changed:
            shapes = [each.sizes for each in self._residents.values()]
        return self._room.domains(joined([*shapes, sizes or {}]))

    def check_fits(self, sizes: Sizes) -> None:
        """Raise AdapterError for an adapter that does not fit the memory even alone."""
        self._room.check(sizes)

    def stage(self, sha256: str, packed: PackedAdapter, *, only_if_spare: bool = False) -> bool:
        """Put a version into a slot. Return False if the versions that must stay leave no room.

        Its cores are computed before another version is evicted. With `only_if_spare`, at most one version is
        evicted, none that a waiting request leases, and a resize waits AHEAD_WAIT_S at most.
        """
        with self._staging:
            if self._touch([sha256]):
                return True
            sizes: Sizes = packed.ks
            self._room.check(sizes)
            with self._changed:
                sizes = next((each.sizes for each in self._residents.values() if each.sizes == sizes), sizes)
            if self._plan(sizes, only_if_spare) is None:
                return False
            began = time.perf_counter()
            cores = self._expand(packed)
            slot = self._vacate(sizes, only_if_spare)
            if slot is None or (stack := self._stack) is None:
                return False
            try:
                stack.write(slot, cores)
            except BaseException:
                with self._changed:
                    self._free.append(slot)  # half written, so free
                raise
            with self._changed:
                self._residents[sha256] = _Resident(Place(slot, next(self._generations)), sizes)
            self._tally.add(SLOT_SWAPS, time.perf_counter() - began)
            return True

    def wait_unmounted(self, timeout_s: float) -> None:
        """Wait until no batch holds slots, at most `timeout_s`."""
        with self._changed:
            self._changed.wait_for(lambda: not self._mounted, timeout_s)

    @contextmanager
    def mounted(self, wanted: Sequence[tuple[str, PackedAdapter] | None]) -> Iterator[Mount]:
        """Hold the slots of a batch's rows while the block runs. A row is a version, or None for the base.

        Raises SlotsBusyError if the versions cannot all be in slots at once.
        """
        packed = dict(each for each in wanted if each is not None)
        if not packed:
            yield Mount(None, (BASE_ROW,) * len(wanted), self.place)
            return
        self._tally.add(SLOT_HITS, sum(self.place(sha256) is not None for sha256 in packed))
        places, stack = self._pin(packed)
        try:
            rows = tuple(
                BASE_ROW if each is None else Row(each[0], places[each[0]].slot, places[each[0]].generation)
                for each in wanted
            )
            yield Mount(stack, rows, self.place)
        finally:
            with self._changed:
                self._mounted.subtract(packed.keys())
                self._mounted = +self._mounted
                self._changed.notify_all()

    def _pin(self, packed: Mapping[str, PackedAdapter]) -> tuple[dict[str, Place], CoreStack]:
        for _ in range(ATTEMPTS):
            with self._changed:
                self._changed.wait_for(lambda: not self._closed_for_change)
                if self._touch(packed) and self._stack is not None:
                    self._mounted.update(packed.keys())
                    return {sha256: self._residents[sha256].place for sha256 in packed}, self._stack
            joint = joined(each.ks for each in packed.values())
            if self._room.domains(joint) < len(packed):
                break
            # This batch holds no slots yet, so a resize waits for mounted batches but never for this one.
            for sha256, each in packed.items():
                self.stage(sha256, each)
        raise SlotsBusyError(
            f"{len(packed)} domains in one batch do not fit the slots: one that does for each of them takes "
            f"{self._room.slot_bytes(joint)} bytes, {self.resident} are resident "
            f"(SSVD_BANK_MAX_BYTES is {self.max_bytes})"
        )

    def _touch(self, wanted: Sequence[str] | Mapping[str, PackedAdapter]) -> bool:
        """Mark versions as used. Return whether all are in slots."""
        with self._changed:
            for sha256 in wanted:
                if sha256 in self._residents:
                    self._residents.move_to_end(sha256)
            return all(sha256 in self._residents for sha256 in wanted)

    def _plan(self, sizes: Sizes, only_if_spare: bool) -> Plan | None:
        """Return how cores of these sizes get a slot, or None if versions that must stay leave no room."""
        with self._changed:
            worth = {each: 2 if self._mounted[each] else int(self._leased(each)) for each in self._residents}
            order = sorted(self._residents, key=worth.__getitem__)  # first to be evicted first
            others = {each: self._residents[each].sizes for each in reversed(order)}
            plan = self._room.plan(sizes, others, self._stack)
        lost = [worth[each] for each in plan.leaving]
        return plan if (lost in ([], [0]) if only_if_spare else 2 not in lost) else None

    def _vacate(self, sizes: Sizes, only_if_spare: bool) -> int | None:
        """Return a free slot for cores of these sizes, after evicting and resizing as needed.

        None if there is no room, or if a running batch does not end in time.
        """
        with self._changed:
            plan = self._plan(sizes, only_if_spare)
            if plan is None or plan.resize is None:
                return self._carry_out(plan)
        with self._between_batches(AHEAD_WAIT_S if only_if_spare else None) as alone:
            # Planned again: versions of the batch that ended may be evicted now.
            return self._carry_out(self._plan(sizes, only_if_spare)) if alone else None

    def _carry_out(self, plan: Plan | None) -> int | None:
        if plan is None:
            return None
        self._tally.add(SLOT_EVICTIONS, len(plan.leaving))
        with self._changed:
            self._free += [self._residents.pop(each).place.slot for each in plan.leaving]
        if plan.resize is not None:
            self._resize(*plan.resize)
        return self._free.pop()

    @contextmanager
    def _between_batches(self, timeout_s: float | None) -> Iterator[bool]:
        """Let no batch begin while the block runs. Yield False if a running one does not end in time."""
        with self._changed:
            self._closed_for_change = True
        try:
            with self._changed:
                alone = self._changed.wait_for(lambda: not self._mounted, timeout_s)
            yield alone
        finally:
            with self._changed:
                self._closed_for_change = False
                self._changed.notify_all()

    def _resize(self, slots: int, sizes: Sizes) -> None:
        """Resize the stack between batches. Residents may change slots; if it fails, none are left."""
        stack, taken = self._stack, {each.place.slot for each in self._residents.values()}
        low = (slot for slot in range(1, slots) if slot not in taken)
        moves = {slot: slot if slot < slots else next(low) for slot in taken}
        try:
            if stack is None:
                stack = self._make_stack(slots, sizes)
            else:
                stack.resize(slots, sizes, moves)
        except BaseException:
            with self._changed:
                self._stack = None
                self._residents.clear()
                self._free.clear()
            raise
        with self._changed:
            self._stack = stack
            for each in self._residents.values():
                each.place = replace(each.place, slot=moves[each.place.slot])
            self._free = sorted(set(range(1, slots)) - set(moves.values()), reverse=True)
        logger.info("the bank has %d slots, %d bytes", slots, self.nbytes)
