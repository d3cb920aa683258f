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

from adapters_store.versions import Version
from server.bank.device_tier import Slots
from server.bank.host_tier import HostTier
from server.bank.loader import Loader
from server.bank.mount import Mount
from server.bank.packed import PackedAdapter
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
    """A hold on a version, which stays in memory until `release`, whatever is published meanwhile."""

    def __init__(self, version: Version, packed: PackedAdapter, tier: HostTier) -> None:
        self.name = version.name
        self.version = version.version
        self.sha256 = version.sha256
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
        self, source: AdapterSource, *, max_bytes: int, host_max_bytes: int, load_timeout_s: float
    ) -> None:
        self._source = source
        # Loading shares the interpreter with a running batch. So after each task the loader waits for the
        # batch to end, for at most as long as the task took.
        self._loader = Loader(rest=lambda took_s: self.slots.wait_unmounted(took_s))
        self._to_stage: set[str] = set()  # digests
        self.host = HostTier(
            self._read, self._loader, max_bytes=host_max_bytes, load_timeout_s=load_timeout_s
        )
        self.slots = Slots(
            source.make_stack,
            lambda packed: packed.expand(source.device, source.dtype),
            self.host.leased,
            core_itemsize=source.dtype.itemsize,
            max_bytes=max_bytes,
            compression=source.compression,
        )

    def lease(self, version: Version) -> Lease:
        """Return a lease on the version, loading it where needed. Its cores are staged in the background.

        Raises:
            AdapterError: the file is refused. It is not read again until it changes.
            BankFullError: no room beside the leased versions, or loading takes too long.
            LoaderError: see HostTier.acquire.
        """
        lease = Lease(version, self.host.acquire(version), self.host)
        try:
            self._stage_soon(version)
        except BaseException:
            lease.release()
            raise
        return lease

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

    def _stage_soon(self, version: Version) -> None:
        """Queue a version for a slot, unless it has one or is queued already."""
        if self.slots.place(version.sha256) is None and version.sha256 not in self._to_stage:
            self._to_stage.add(version.sha256)
            self._loader.submit(partial(self._stage_ahead, version), ahead=True)

    def _stage_ahead(self, version: Version) -> None:
        self._to_stage.discard(version.sha256)
        packed = self.host.waiting(version.sha256)
        if packed is None:  # no request holds it any more
            return
        try:
            self.slots.stage(version.sha256, packed, only_if_spare=True)
        except Exception as error:  # a batch that needs it stages it again, and reports the error
            logger.warning("%s was not staged ahead: %s", version.reference, error)
