"""The first tier: which version stands in which slot of the device's `CoreStack`.

A batch mounts the versions of its rows: until it is done their slots are not written. Everything else may be
evicted, the least recently used first, those that a waiting request leases last. The stack grows with what is
asked for, up to its memory; a slot keeps its number when it does.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from torch import Tensor

from server.packed import PackedAdapter
from server.rows import BASE_ROW, Mount, Place, Row
from ssvd_asr.compression import Compression, core_numbers
from ssvd_asr.core_stack import CoreStack
from ssvd_asr.errors import AdapterError, SsvdError

logger = logging.getLogger(__name__)

FIRST_SLOTS = 8  # domains; doubled whenever they are all taken
ATTEMPTS = 4  # at having all domains of a batch in slots at once

Cores = Mapping[str, Tensor]
MakeStack = Callable[[int, Mapping[str, int]], CoreStack]


class SlotsBusyError(SsvdError):
    """More domains at once than there are slots."""


class Slots:
    """Thread-safe. Stages one version at a time; a mounted version is never touched."""

    def __init__(
        self,
        make_stack: MakeStack,
        expand: Callable[[PackedAdapter], Cores],
        leased: Callable[[str], bool],
        *,
        core_itemsize: int,
        max_bytes: int,
        compression: Compression | None = None,
    ) -> None:
        """`expand` makes cores on the device, `leased` says whether a waiting request wants a version.

        `compression` is that of the stacks that `make_stack` makes.
        """
        self.max_bytes = max_bytes
        self._make_stack = make_stack
        self._expand = expand
        self._leased = leased
        self._itemsize = core_itemsize
        self._compression = compression
        self._stack: CoreStack | None = None
        self._places: OrderedDict[str, Place] = OrderedDict()  # least recently used first
        self._free: list[int] = []
        self._mounted: Counter[str] = Counter()
        self._generations = itertools.count(1)
        self._changed = threading.Condition()  # of all above
        self._closed_for_change = False
        self._staging = threading.RLock()  # held by the one who writes slots; never while mounted

    @property
    def nbytes(self) -> int:
        """Memory of the stack."""
        stack = self._stack
        return 0 if stack is None else stack.slots * stack.slot_nbytes

    @property
    def resident(self) -> int:
        """How many versions are in slots."""
        return len(self._places)

    def place(self, sha256: str) -> Place | None:
        """Where a version is, if it is in a slot."""
        with self._changed:
            return self._places.get(sha256)

    def capacity(self, ks: Mapping[str, int] | None = None) -> int:
        """How many domains fit the memory, slot 0 counted off, at the stack's k or at these beside it.

        Raises AdapterError where not even one does.
        """
        slot_bytes = self._slot_bytes(self._joint(ks or {}))
        return self.max_bytes // slot_bytes - 1 if slot_bytes else FIRST_SLOTS

    def check_fits(self, ks: Mapping[str, int]) -> None:
        """Raise AdapterError for an adapter that the memory could not hold even alone."""
        self._slot_bytes(ks)

    def _slot_bytes(self, ks: Mapping[str, int]) -> int:
        slot_bytes = sum(core_numbers(k, self._compression) for k in ks.values()) * self._itemsize
        if self.max_bytes < 2 * slot_bytes:
            raise AdapterError(
                f"its cores take {slot_bytes} bytes on the device, twice that with the base's slot; "
                f"the limit is {self.max_bytes} (SSVD_BANK_MAX_BYTES)"
            )
        return slot_bytes

    def stage(self, sha256: str, packed: PackedAdapter, *, only_if_spare: bool = False) -> bool:
        """Have a version in a slot; False where every slot is taken by what must stay.

        Its cores are ready before anything else leaves. `only_if_spare` spares what waiting requests lease.
        """
        with self._staging:
            if self._touch([sha256]):
                return True
            if not self._room(packed.ks, only_if_spare):
                return False
            cores = self._expand(packed)
            slot = self._vacate(only_if_spare)
            stack = self._stack
            if slot is None or stack is None:
                return False
            try:
                stack.write(slot, cores)
            except BaseException:
                with self._changed:
                    self._free.append(slot)  # half written: nobody's, until it is written whole
                raise
            with self._changed:
                self._places[sha256] = Place(slot, next(self._generations))
            return True

    def wait_unmounted(self, timeout_s: float) -> None:
        """Wait until no batch holds slots, at most so long."""
        with self._changed:
            self._changed.wait_for(lambda: not self._mounted, timeout_s)

    @contextmanager
    def mounted(self, wanted: Sequence[tuple[str, PackedAdapter] | None]) -> Iterator[Mount]:
        """Hold the slots of a batch's rows, by version or None for the base, while the block runs.

        Raises SlotsBusyError where they cannot all be in slots at once.
        """
        packed = dict(each for each in wanted if each is not None)
        if not packed:
            yield Mount(None, (BASE_ROW,) * len(wanted), self.place)
            return
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
                    return {sha256: self._places[sha256] for sha256 in packed}, self._stack
            # Holding nothing: who stages may have to wait for the last batch, but never for this one.
            for sha256, each in packed.items():
                self.stage(sha256, each)
        raise SlotsBusyError(
            f"{len(packed)} domains in one batch do not fit the slots: {self.resident} are resident "
            f"(SSVD_BANK_MAX_BYTES is {self.max_bytes})"
        )

    def _touch(self, wanted: Sequence[str] | Mapping[str, PackedAdapter]) -> bool:
        """Mark as used; whether all are in slots."""
        with self._changed:
            for sha256 in wanted:
                if sha256 in self._places:
                    self._places.move_to_end(sha256)
            return all(sha256 in self._places for sha256 in wanted)

    def _vacate(self, only_if_spare: bool) -> int | None:
        """A slot that nobody has; what was in it is evicted."""
        with self._changed:
            if self._free:
                return self._free.pop()
            spare = [each for each in self._places if not self._mounted[each]]
            unleased = [each for each in spare if not self._leased(each)]
            victims = unleased if only_if_spare else unleased + [e for e in spare if e not in unleased]
            return self._places.pop(victims[0]).slot if victims else None

    def _joint(self, ks: Mapping[str, int]) -> dict[str, int]:
        held = self._stack.k if self._stack is not None else {}
        return {name: max(held.get(name, 0), ks.get(name, 0)) for name in held.keys() | ks.keys()}

    def _room(self, ks: Mapping[str, int], only_if_spare: bool) -> bool:
        """Grow the stack where the cores are larger than its own, or its slots are all taken and more fit."""
        stack, wanted = self._stack, self._joint(ks)
        capacity = self.capacity(ks)
        domains = 0 if stack is None else stack.slots - 1
        if stack is not None and wanted == dict(stack.k):
            if self._free or domains >= capacity:
                return True
            domains *= 2
        domains = min(max(domains, FIRST_SLOTS), capacity)
        slot_bytes = self._slot_bytes(wanted)
        if stack is None:
            self._grow_in_place(domains + 1, wanted)
        elif domains + 1 >= stack.slots and self.nbytes + (domains + 1) * slot_bytes <= self.max_bytes:
            self._grow_aside(domains + 1, wanted)
        elif not only_if_spare:
            self._grow_in_place(capacity + 1, wanted)  # at once to the end: it empties the slots
        else:
            return False  # the batch that needs it will; emptying the slots ahead of need is not worth it
        return True

    def _grow_aside(self, slots: int, ks: Mapping[str, int]) -> None:
        """Copy into a larger stack while the old one serves, then flip the one reference to it."""
        old = self._stack
        assert old is not None
        new = self._make_stack(slots, ks)
        for place in self._places.values():  # only a holder of `_staging` changes it
            names = old.touched([place.slot])
            new.write(place.slot, {name: old.core(name, place.slot) for name in names})
        with self._changed:
            self._free += range(old.slots, new.slots)
            self._stack = new
        logger.info("the bank has %d slots, %d bytes", slots, self.nbytes)

    def _grow_in_place(self, slots: int, ks: Mapping[str, int]) -> None:
        """Where memory does not hold both: wait for the batch that runs, let the old go, begin empty."""
        with self._changed:
            self._closed_for_change = True
            try:
                self._changed.wait_for(lambda: not self._mounted)
                self._stack = None
                self._places.clear()
                self._free.clear()
            except BaseException:
                self._closed_for_change = False
                raise
        try:
            new = self._make_stack(slots, ks)
            with self._changed:
                self._stack, self._free = new, list(range(1, new.slots))
        finally:
            with self._changed:
                self._closed_for_change = False
                self._changed.notify_all()
        logger.info("the bank has %d slots, %d bytes", slots, self.nbytes)
