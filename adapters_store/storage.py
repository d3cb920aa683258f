"""Storage of a store: its documents, which change, and its adapter files, which never do.

A document is named by its path, as "domains/child.json" or "aliases.json". `FolderStorage` keeps both in a
folder of this machine; remote_storage.py keeps them in a bucket or on the hub.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import filelock

from adapters_store.disk import (
    Staged,
    commit,
    files_in,
    is_scratch,
    make_folder,
    read_file,
    remove_file,
    remove_stale,
    staged_copy,
    write_file,
)
from adapters_store.names import is_name
from ssvd_asr.errors import StoreError, StoreUnreachableError, unwritable

STORE_VARIABLE = "SSVD_STORE"
DOMAINS = "domains"  # folder of the indexes
ALIASES = "aliases.json"
INDEX_SUFFIX = ".json"
ADAPTER_SUFFIX = ".safetensors"
MAX_DOCUMENT_BYTES = 16 * 2**20
LOCK_TIMEOUT_S = 30.0  # writers hold it for milliseconds, because checks run before

_ADAPTER_FILE = re.compile(r"[0-9a-f]{64}\.safetensors")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Replacement:
    """New content of a document.

    Attributes:
        announce: called right before the content becomes visible, when it can hardly fail any more. If it
            raises, nothing is changed.
    """

    data: bytes
    announce: Callable[[], None]


Change = Callable[[bytes | None], Replacement | None]


class Storage(Protocol):
    """The operations of a store on the place where it lies. Safe for threads and processes."""

    where: str  # for messages and reports

    def index_names(self) -> set[str]:
        """Return the names of domains that have an index. Raises StoreError."""
        ...

    def read(self, document: str) -> bytes | None:
        """Return a document, or None if there is none. Raises StoreError if it cannot be read."""
        ...

    def adapter(self, sha256: str, size_bytes: int) -> tuple[Path, Callable[[], None] | None]:
        """Return where an adapter file is on this machine, and how it gets there: see `Version`."""
        ...

    def staged(self, source: Path | BinaryIO, max_bytes: int) -> AbstractContextManager[Staged]:
        """Copy a file to this machine, where it can be checked. Raises as `staged_copy` does."""
        ...

    def writing(self) -> AbstractContextManager[None]:
        """Be a writer while the block runs. Raises StoreError if the store cannot be written."""
        ...

    def keep(self, staged: Staged) -> None:
        """Put a staged file among the adapters, durably. A writer calls it."""
        ...

    def update(self, document: str, change: Change) -> None:
        """Replace a document by what `change` makes of it; None leaves it. A writer calls it.

        What another writer has written meanwhile is never lost: then `change` is called again, with that.
        A crash leaves the old document or the new one.
        """
        ...

    def sweep(self, named: Callable[[], set[str]]) -> None:
        """Remove what crashed writers left. A writer calls it.

        Args:
            named: returns the digests that any index names; it raises StoreError if one is damaged. Then
                no adapter file is removed.
        """
        ...


def index_document(name: str) -> str:
    """Return the name of a domain's index. The name must be checked or looked up."""
    return f"{DOMAINS}/{name}{INDEX_SUFFIX}"


class FolderStorage:
    """A folder of this machine. It writes nothing, and needs no folder, until a writer comes."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.where = str(self.root)
        self._domains = self.root / DOMAINS
        self._adapters = self.root / "adapters"

    def index_names(self) -> set[str]:
        """See Storage. Other files in the folder are ignored."""
        files = (file for file in files_in(self._domains) if file.endswith(INDEX_SUFFIX))
        return set(filter(is_name, (file.removesuffix(INDEX_SUFFIX) for file in files)))

    def read(self, document: str) -> bytes | None:
        """See Storage. The name is looked up among those of its folder."""
        folder, _, file = document.rpartition("/")
        path = files_in(self.root / folder).get(file)
        if path is None:
            return None
        try:
            return read_file(path, MAX_DOCUMENT_BYTES)
        except OSError as error:
            raise StoreError(f"{path} cannot be read: {error}") from error

    def adapter(self, sha256: str, _size_bytes: int) -> tuple[Path, None]:
        """See Storage."""
        return self._adapters / f"{sha256}{ADAPTER_SUFFIX}", None

    @contextmanager
    def staged(self, source: Path | BinaryIO, max_bytes: int) -> Iterator[Staged]:
        """See Storage."""
        with self._writable(), staged_copy(source, self._adapters, max_bytes) as staged:
            yield staged

    @contextmanager
    def writing(self) -> Iterator[None]:
        """See Storage. One writer at a time holds the lock."""
        with self._writable():
            try:
                with filelock.FileLock(self.root / ".lock", timeout=LOCK_TIMEOUT_S):
                    yield
            except filelock.Timeout as error:
                raise StoreUnreachableError(
                    f"store {self.root} has been locked by another process for {LOCK_TIMEOUT_S} s"
                ) from error

    def keep(self, staged: Staged) -> None:
        """See Storage."""
        commit(staged, self.adapter(staged.sha256, staged.size_bytes)[0])

    def update(self, document: str, change: Change) -> None:
        """See Storage. The lock keeps other writers away."""
        made = change(self.read(document))
        if made is not None:
            write_file(self.root / document, made.data, announce=made.announce)

    def sweep(self, named: Callable[[], set[str]]) -> None:
        """See Storage."""
        for folder in (self.root, self._adapters, self._domains):
            remove_stale(folder)
        names = self.index_names()
        strange = {
            file
            for file in os.listdir(self._domains)
            if file.removesuffix(INDEX_SUFFIX) not in names and not is_scratch(file)
        }
        if strange:  # a moved or linked index may name adapter files that look unused
            logger.warning("nothing is swept: %s is no index of the store", self._domains / min(strange))
            return
        try:
            kept = {f"{sha256}{ADAPTER_SUFFIX}" for sha256 in named()}
        except StoreError as error:  # what the damaged index names is unknown
            logger.warning("nothing is swept: %s", error)
            return
        for file, path in files_in(self._adapters).items():
            if _ADAPTER_FILE.fullmatch(file) and file not in kept:
                remove_file(path)

    @contextmanager
    def _writable(self) -> Iterator[None]:
        """Make the folders, and turn the operating system's errors into StoreError."""
        try:
            make_folder(self._domains)
            make_folder(self._adapters)
            yield
        except OSError as error:
            raise unwritable(f"store {self.root} ({STORE_VARIABLE})", error) from error
