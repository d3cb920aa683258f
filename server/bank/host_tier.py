"""Second tier: packed adapters in host memory, by digest, within a size limit. The disk is the third.

Leased versions stay. The others are evicted for new ones, the least recently leased first.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from functools import partial

from adapters_store.blends import Blend
from adapters_store.versions import Version
from server.bank.loader import Loader, LoaderError
from server.bank.packed import PackedAdapter
from server.errors import BankFullError
from server.tally import HOST_EVICTIONS, HOST_HITS, HOST_LOADS, Tally
from ssvd_asr.errors import AdapterError, AdapterUnreadableError

logger = logging.getLogger(__name__)

FileState = tuple[int, int]  # ctime in ns (so that a chmod counts as a change), size in bytes
MAX_REFUSALS = 1000  # kept
RETRIES = 1  # of a load after the thread ended or the disk failed


class HostTier:
    """The tier. Thread-safe. Loading a version never delays the lease of a loaded one."""

    def __init__(
        self,
        read: Callable[[Version], PackedAdapter],
        loader: Loader,
        *,
        max_bytes: int,
        max_blends: int,
        load_timeout_s: float,
        tally: Tally | None = None,
    ) -> None:
        """`read` reads and checks a version, on the loader's thread; it raises AdapterError to refuse.

        At most `max_blends` blends are leased at the same time.
        """
        self.max_bytes = max_bytes
        self.max_blends = max_blends
        self.load_timeout_s = load_timeout_s
        self._read = read
        self._loader = loader
        self._tally = tally or Tally()
        self._entries: OrderedDict[str, PackedAdapter] = OrderedDict()  # least recently leased first
        self._leases: dict[str, int] = {}
        self._blends: set[str] = set()  # digests of the entries that no file holds
        self._blending = threading.Lock()  # so that one blend at a time is made, and each once
        self._loading: dict[str, Future[None]] = {}
        # By digest: the state of the file, and why it is refused.
        self._refused: OrderedDict[str, tuple[FileState, AdapterError]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def nbytes(self) -> int:
        """Memory of all entries, in bytes."""
        with self._lock:
            return self._nbytes()

    def __contains__(self, sha256: str) -> bool:
        with self._lock:
            return sha256 in self._entries

    def check_fits(self, packed: PackedAdapter) -> None:
        """Raise AdapterError for an adapter that is larger than all of the tier."""
        if packed.nbytes > self.max_bytes:
            raise AdapterError(
                f"it takes {packed.nbytes} bytes of host memory, "
                f"the limit is {self.max_bytes} (SSVD_BANK_HOST_MAX_BYTES)"
            )

    def waiting(self, sha256: str) -> PackedAdapter | None:
        """Return a version if a request leases it, else None."""
        with self._lock:
            return self._entries[sha256] if sha256 in self._leases else None

    def leased(self, sha256: str) -> bool:
        """Return whether a request leases a version."""
        with self._lock:
            return sha256 in self._leases

    @property
    def held(self) -> int:
        """How many domains are leased, and so cannot leave."""
        with self._lock:
            return len(self._leases)

    def acquire(self, version: Version) -> PackedAdapter:
        """Lease a version, loading it where needed. `release` must follow.

        Raises:
            AdapterError: the file is refused. It is not read again until it changes.
            BankFullError: leased versions leave no room for it, or loading takes too long.
            LoaderError: the loading thread ended or the disk failed, and again on each retry.
        """
        failures = 0
        if version.sha256 in self:
            self._tally.add(HOST_HITS)
        while (found := self._lease(version.sha256)) is None:
            try:
                self._await(version)
            except LoaderError:
                failures += 1
                if failures > RETRIES:
                    raise
        return found

    def acquire_known(self, sha256: str) -> PackedAdapter | None:
        """Lease what is in memory, or return None. `release` must follow a result."""
        return self._lease(sha256)

    def acquire_blend(self, blend: Blend, make: Callable[[], PackedAdapter]) -> PackedAdapter:
        """Lease a blend, calling `make` where it is not in memory. `release` must follow.

        Raises BankFullError if leased versions leave no room for it, or `max_blends` others are leased; and
        what `make` raises.
        """
        with self._blending:
            found = self._lease(blend.sha256)
            if found is None:
                found = make()
                self._insert(blend, found)
        return found

    def load_here(self, version: Version) -> PackedAdapter:
        """Load a version without leasing it. Called from the loader's thread only.

        Raises as `acquire` does.
        """
        return self._load(version)

    def release(self, sha256: str) -> None:
        """Give a lease back."""
        with self._lock:
            self._leases[sha256] -= 1
            if not self._leases[sha256]:
                del self._leases[sha256]

    def _lease(self, sha256: str) -> PackedAdapter | None:
        with self._lock:
            found = self._entries.get(sha256)
            if found is not None:
                self._entries.move_to_end(sha256)
                self._leases[sha256] = self._leases.get(sha256, 0) + 1
            return found

    def _await(self, version: Version) -> None:
        """Wait until a version is loaded, by a load in progress or a new one."""
        with self._lock:
            future = self._loading.get(version.sha256)
            if future is None:
                future = self._loader.submit(partial(self._load, version))
                self._loading[version.sha256] = future
                future.add_done_callback(partial(self._loaded, version.sha256))
        try:
            self._loader.wait(future, self.load_timeout_s)
        except FutureTimeoutError as error:
            if not future.done():
                raise BankFullError(
                    f"{version.reference} was not loaded within {self.load_timeout_s:g} s "
                    "(SSVD_LOAD_TIMEOUT_S)"
                ) from error
            future.result()  # the task raised it (a network disk's timeout), or has just ended

    def _loaded(self, sha256: str, future: Future[None]) -> None:
        # Not under the lock, which `_await` may still hold when the loader finishes or has ended.
        if self._loading.get(sha256) is future:
            self._loading.pop(sha256, None)

    def _load(self, version: Version) -> PackedAdapter:
        """Load a version. Runs on the loader's thread."""
        with self._lock:
            found = self._entries.get(version.sha256)
        if found is not None:  # loaded while this task was queued
            return found
        state = _file_state(version)
        seen, known = self._refused.get(version.sha256, (None, None))
        if seen == state and known is not None:
            raise type(known)(str(known))  # each raise has a traceback of its own
        try:
            with self._tally.timing(HOST_LOADS):
                packed = self._read(version)
            self.check_fits(packed)
        except AdapterUnreadableError as error:
            raise LoaderError(str(error)) from error
        except AdapterError as refusal:
            # Of the same class: that a domain is another base's is its requests' mistake.
            named = type(refusal)(f"{version.reference} is refused: {refusal}")
            self._refused[version.sha256] = (state, named)
            if len(self._refused) > MAX_REFUSALS:
                self._refused.popitem(last=False)
            logger.error("%s", named)
            raise named from refusal
        self._insert(version, packed)
        return packed

    def _insert(self, version: Version | Blend, packed: PackedAdapter) -> None:
        """Make room for an entry and add it; a blend is leased too."""
        with self._lock:
            if isinstance(version, Blend) and len(self._blends & self._leases.keys()) >= self.max_blends:
                raise BankFullError(
                    f"{self.max_blends} blends are in use, which is the limit (SSVD_BANK_MAX_BLENDS)"
                )
            held = sum(self._entries[each].nbytes for each in self._leases)
            if held + packed.nbytes > self.max_bytes:
                raise BankFullError(
                    f"{version.reference} takes {packed.nbytes} bytes and {held} are in use: "
                    f"the limit is {self.max_bytes} (SSVD_BANK_HOST_MAX_BYTES)"
                )
            spare = [each for each in self._entries if each not in self._leases]
            # Blends leave first: there may be any number of them, and they are soon made again.
            spare.sort(key=lambda each: each not in self._blends)
            while self._nbytes() + packed.nbytes > self.max_bytes:
                gone = spare.pop(0)
                del self._entries[gone]
                self._blends.discard(gone)
                self._tally.add(HOST_EVICTIONS)
            self._entries[version.sha256] = packed
            if isinstance(version, Blend):
                self._blends.add(version.sha256)
                self._leases[version.sha256] = 1

    def _nbytes(self) -> int:
        return sum(packed.nbytes for packed in self._entries.values())


def _file_state(version: Version) -> FileState:
    try:
        found = version.file().stat()
    except AdapterUnreadableError as error:
        raise LoaderError(str(error)) from error
    except OSError as error:
        raise AdapterError(f"{version.reference}: its file is gone: {error}") from error
    return found.st_ctime_ns, found.st_size
