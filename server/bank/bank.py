"""Adapter bank: holds versions of domains in three tiers, addressed by their digest.

    slots of the device   cores, stacked, as a batch reads them  device_tier.py  SSVD_BANK_MAX_BYTES
    host memory           the file's numbers, packed             host_tier.py    SSVD_BANK_HOST_MAX_BYTES
    disk                  the file                               adapters_store

A request leases its version in host memory from its arrival to its end. A batch mounts the versions of its
rows in slots while it runs. Leased and mounted versions are not evicted. A loading thread reads files, and
stages versions in slots ahead of their batches.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from types import TracebackType
from typing import Literal, Protocol, Self

import torch

from adapters_store.blends import Blend, Part
from adapters_store.versions import Version
from server.bank.blended import blended
from server.bank.device_tier import Slots
from server.bank.host_tier import HostTier
from server.bank.loader import Loader
from server.bank.mount import Mount
from server.bank.packed import PackedAdapter, check_cores
from server.tally import Tally
from ssvd_asr.mixing.compression import Compression
from ssvd_asr.mixing.core_stack import CoreStack

logger = logging.getLogger(__name__)

Tier = Literal["slot", "host", "disk"]


class AdapterSource(Protocol):
    """The model interface that the bank needs."""

    device: torch.device
    dtype: torch.dtype  # of the cores
    compression: Compression | None  # of the stacks it makes

    def read_adapter(self, version: Version) -> PackedAdapter:
        """Read and check a version's file. Called from one thread at a time.

        Raises AdapterError if the file is damaged or made for another base or basis.
        """
        ...

    def make_stack(self, slots: int, k: Mapping[str, int]) -> CoreStack:
        """Return an empty stack of the model's adapted layers."""
        ...


class Lease:
    """A hold on a version or a blend, which stays in memory until `release`, whatever is published meanwhile.

    Attributes:
        version: its number; None for a blend, whose `parts` have their own.
        sha256: of the version's file, or the blend's identity.
        pinned: a request's domain that always means the same numbers.
        turn: digest of the version with which it shares its turns in the queue. A blend counts as its
            heaviest part, so that blends get no more turns than the store has domains.
    """

    def __init__(self, of: Version | Blend, packed: PackedAdapter, tier: HostTier) -> None:
        self.of = of
        self.name = of.name
        self.sha256 = of.sha256
        self.version: int | None = None
        self.parts: tuple[Part, ...] = ()
        if isinstance(of, Blend):
            self.parts, self.pinned, self.turn = of.parts, of.pinned, of.heaviest.sha256
        else:
            self.version, self.pinned, self.turn = of.version, of.pinned, of.sha256
        self.packed = packed
        self._tier = tier
        self._held = True
        self._lock = threading.Lock()

    def release(self) -> None:
        """Give the lease back. A second call does nothing."""
        with self._lock:
            held, self._held = self._held, False
        if held:
            self._tier.release(self.sha256)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class Bank:
    """The bank. Thread-safe. Loading a version delays requests for others only while slots are resized."""

    def __init__(
        self,
        source: AdapterSource,
        *,
        max_bytes: int,
        host_max_bytes: int,
        max_blends: int,
        load_timeout_s: float,
        tally: Tally | None = None,
    ) -> None:
        self.tally = tally or Tally()
        self._source = source
        # Loading shares the interpreter with a running batch. So after each task the loader waits for the
        # batch to end, for at most as long as the task took.
        self._loader = Loader(rest=lambda took_s: self.slots.wait_unmounted(took_s))
        self._to_stage: set[str] = set()  # digests
        self.host = HostTier(
            self._read,
            self._loader,
            max_bytes=host_max_bytes,
            max_blends=max_blends,
            load_timeout_s=load_timeout_s,
            tally=self.tally,
        )
        self.slots = Slots(
            source.make_stack,
            lambda packed: packed.expand(source.device, source.dtype),
            self.host.leased,
            core_itemsize=source.dtype.itemsize,
            max_bytes=max_bytes,
            compression=source.compression,
            tally=self.tally,
        )

    def lease(self, version: Version) -> Lease:
        """Return a lease on the version, loading it where needed. Its cores are staged in the background.

        Raises:
            AdapterError: the file is refused. It is not read again until it changes.
            BankFullError: no room beside the leased versions, or loading takes too long.
            LoaderError: see HostTier.acquire.
        """
        return self._staged(Lease(version, self.host.acquire(version), self.host))

    def lease_known(self, blend: Blend) -> Lease | None:
        """Return a lease on a blend that is in host memory, or None."""
        packed = self.host.acquire_known(blend.sha256)
        return None if packed is None else self._staged(Lease(blend, packed, self.host))

    def lease_blend(self, blend: Blend, parts: Mapping[str, PackedAdapter]) -> Lease:
        """Return a lease on a blend, made of its parts where it is not in memory. The parts are not kept.

        Args:
            parts: the versions of the blend, by digest.

        Raises:
            BlendFormError: the parts are not of one form, or their sum is too large a number.
            AdapterError: the blend loses too much by compression.
            BankFullError: no room beside the leased versions, or too many blends are leased.
        """
        packed = self.host.acquire_blend(blend, lambda: self._blended(blend, parts))
        return self._staged(Lease(blend, packed, self.host))

    def check_fits(self, packed: PackedAdapter) -> None:
        """Raise AdapterError for an adapter that does not fit one of the memories even alone."""
        self.slots.check_fits(packed.ks)
        self.host.check_fits(packed)

    def preload(self, version: Version) -> None:
        """Load and stage a version in the background, if nothing has to be evicted for it."""
        self._loader.submit(partial(self._load_ahead, version), ahead=True)

    def mounted(self, leases: Sequence[Lease | None]) -> AbstractContextManager[Mount]:
        """Hold the slots of a batch's rows while the block runs. None stands for the base.

        Raises SlotsBusyError if there are more domains than slots, and AdapterError if cores are not finite
        on the device.
        """
        return self.slots.mounted([None if each is None else (each.sha256, each.packed) for each in leases])

    def where(self, sha256: str) -> Tier:
        """Return the fastest tier that has a version."""
        if self.slots.place(sha256) is not None:
            return "slot"
        return "host" if sha256 in self.host else "disk"

    def close(self) -> None:
        """End the loading thread after the tasks that callers wait for."""
        self._loader.close()

    def _staged(self, lease: Lease) -> Lease:
        try:
            self._stage_soon(lease.of)
        except BaseException:
            lease.release()
            raise
        return lease

    def _blended(self, blend: Blend, parts: Mapping[str, PackedAdapter]) -> PackedAdapter:
        order = blend.sorted_parts
        packed = blended(
            [parts[part.version.sha256] for part in order],
            [part.weight for part in order],
            [part.version.reference for part in order],
            pinned=self._source.device.type == "cuda",
        )
        check_cores(packed, self._source.dtype, self._source.compression)
        return packed

    def _read(self, version: Version) -> PackedAdapter:
        packed = self._source.read_adapter(version)
        self.slots.check_fits(packed.ks)
        return packed

    def _load_ahead(self, version: Version) -> None:
        if self.host.nbytes + version.size_bytes > self.host.max_bytes:
            return
        try:
            packed = self.host.load_here(version)
            if self.slots.resident < self.slots.capacity(packed.ks):
                self.slots.stage(version.sha256, packed, only_if_spare=True)
        except Exception as error:  # requests for it report the error
            logger.warning("%s was not loaded ahead: %s", version.reference, error)

    def _stage_soon(self, version: Version | Blend) -> None:
        """Queue a version for a slot, unless it has one or is queued already."""
        if self.slots.place(version.sha256) is None and version.sha256 not in self._to_stage:
            self._to_stage.add(version.sha256)
            self._loader.submit(partial(self._stage_ahead, version), ahead=True)

    def _stage_ahead(self, version: Version | Blend) -> None:
        self._to_stage.discard(version.sha256)
        packed = self.host.waiting(version.sha256)
        if packed is None:  # no request holds it any more
            return
        try:
            self.slots.stage(version.sha256, packed, only_if_spare=True)
        except Exception as error:  # a batch that needs it stages it again, and reports the error
            logger.warning("%s was not staged ahead: %s", version.reference, error)
