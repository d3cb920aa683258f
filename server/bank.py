"""The adapter bank: versions of domains as cores on the device, addressed by their digest.

An entry is built wholly aside and then put in with one assignment, so a request sees a version entire or
not at all. The bound evicts the least recently asked for; whoever holds an entry keeps it until done.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping

from torch import Tensor

from adapters_store.versions import Version
from server.messages import DomainCores
from ssvd_asr.errors import AdapterError

logger = logging.getLogger(__name__)

Cores = Mapping[str, Tensor]  # layer: (k, k)
FileState = tuple[int, int]  # mtime in ns, size in bytes


class Bank:
    """Thread-safe. Loading one version never makes a request for a loaded one wait."""

    def __init__(self, load: Callable[[Version], Cores], max_bytes: int) -> None:
        """`load` reads and checks a version and returns its cores; it raises AdapterError to refuse."""
        self._load = load
        self.max_bytes = max_bytes
        self._entries: OrderedDict[str, Cores] = OrderedDict()  # sha256: least recently asked for first
        self._refused: dict[str, tuple[FileState, str]] = {}  # sha256: the file as it was, the reason
        self._lock = threading.Lock()
        self._loading = threading.Lock()  # one build at a time: no version is built twice

    @property
    def nbytes(self) -> int:
        """Memory of all entries."""
        with self._lock:
            return sum(map(_nbytes, self._entries.values()))

    def __contains__(self, sha256: str) -> bool:
        with self._lock:
            return sha256 in self._entries

    def get(self, version: Version) -> DomainCores:
        """Return the version's cores, loading them where needed.

        Raises:
            AdapterError: the file is refused. It is not read again until it changes.
        """
        cores = self._find(version.sha256)
        if cores is None:
            with self._loading:
                cores = self._find(version.sha256)
                if cores is None:
                    cores = self._build(version)
                    self._insert(version.sha256, cores)
        return DomainCores(version.name, version.version, version.sha256, cores)

    def _find(self, sha256: str) -> Cores | None:
        with self._lock:
            cores = self._entries.get(sha256)
            if cores is not None:
                self._entries.move_to_end(sha256)
            return cores

    def _build(self, version: Version) -> Cores:
        state = _file_state(version)
        seen, reason = self._refused.get(version.sha256, (None, ""))
        if seen == state:
            raise AdapterError(reason)
        try:
            cores = self._load(version)
            if _nbytes(cores) > self.max_bytes:
                raise AdapterError(
                    f"its cores take {_nbytes(cores)} bytes on the device, "
                    f"the bank's limit is {self.max_bytes} (SSVD_BANK_MAX_BYTES)"
                )
        except AdapterError as refusal:
            reason = f"{version.name}@{version.version} is refused: {refusal}"
            self._refused[version.sha256] = (state, reason)
            logger.error("%s", reason)
            raise AdapterError(reason) from refusal
        return cores

    def _insert(self, sha256: str, cores: Cores) -> None:
        with self._lock:
            self._entries[sha256] = cores
            total = sum(map(_nbytes, self._entries.values()))
            while total > self.max_bytes:
                _, evicted = self._entries.popitem(last=False)
                total -= _nbytes(evicted)


def _nbytes(cores: Cores) -> int:
    return sum(core.numel() * core.element_size() for core in cores.values())


def _file_state(version: Version) -> FileState:
    try:
        found = version.path.stat()
    except OSError as error:
        raise AdapterError(f"{version.name}@{version.version}: its file is gone: {error}") from error
    return found.st_mtime_ns, found.st_size
