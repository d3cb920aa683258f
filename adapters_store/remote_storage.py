"""Storage of a store that is elsewhere: documents in a short-lived copy in memory, adapter files in a cache.

One look lists the documents with their tags and reads those whose tag has changed. Looks are `refresh_s`
apart. While the store does not answer or refuses, what the last look found goes on being used, and a look is
tried again after a while. A document is replaced on the condition that its tag is still the one that was
read.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from adapters_store.disk import Staged, make_folder, staged_copy
from adapters_store.file_cache import FileCache
from adapters_store.names import is_name
from adapters_store.storage import ADAPTER_SUFFIX, ALIASES, DOMAINS, INDEX_SUFFIX, Change
from ssvd_asr.cache_root import CACHE_VARIABLE, cache_root
from ssvd_asr.errors import (
    AdapterError,
    AdapterUnreadableError,
    SsvdError,
    StoreError,
    StoreUnreachableError,
    unwritable,
)

RETRY_S = 5.0  # at least, between looks at a store that does not answer
ATTEMPTS = 12  # of a change that others get ahead of
_MOST_PAUSE_S = 0.5

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Elsewhere:
    """How a store that a URL names is read.

    Attributes:
        refresh_s: for how long its documents are taken to be as they were.
        cache_max_bytes: size of the adapter files that are kept on this machine.
    """

    refresh_s: float = 5.0
    cache_max_bytes: int = 10 * 2**30


class ChangedMeanwhileError(Exception):
    """A document is not the one that was read."""


class Remote(Protocol):
    """Files at a place; paths are relative to it.

    All raise StoreUnreachableError if it does not answer, and StoreError if it refuses.
    """

    where: str

    def tags(self, folder: str) -> dict[str, str]:
        """Return the files in a folder, or at the top for "", with a tag that changes with the content."""
        ...

    def read(self, paths: Iterable[str]) -> dict[str, bytes]:
        """Return the contents of files by path, without those that are gone."""
        ...

    def now(self, path: str) -> tuple[str, bytes] | None:
        """Return tag and content of a file as it is now, or None. The content is that of the tag or newer."""
        ...

    def put(self, path: str, data: bytes, tag: str | None) -> str:
        """Write a file that still has this tag (None: that is not there); return its new tag.

        Raises ChangedMeanwhileError if it has another.
        """
        ...

    def add(self, path: str, file: Path) -> None:
        """Write a file of this machine to the place, unless it is there in the same size."""
        ...

    def fetch(self, path: str, size_bytes: int, target: Path) -> None:
        """Copy a file to this machine. Raises AdapterError if it is not there or has another size."""
        ...


class FilesElsewhere(ABC):
    """Base of a `Remote` over an fsspec file system. A subclass sets the attributes."""

    where: str
    _root: str  # of the paths
    _files: Any

    def fetch(self, path: str, size_bytes: int, target: Path) -> None:
        """See Remote."""
        with self._asking():
            place = self._path(path)
            try:
                found = self._files.size(place)
                if found != size_bytes:
                    raise AdapterError(f"it has {found} bytes, not {size_bytes}")
                self._files.get_file(place, str(target))
            except FileNotFoundError:
                raise AdapterError("it is gone") from None

    def _path(self, path: str) -> str:
        return f"{self._root}/{path}".rstrip("/")

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Turn what the file system and the libraries below it raise into our errors."""
        try:
            yield
        except (SsvdError, ChangedMeanwhileError):
            raise
        except Exception as error:
            if (told := self._refusal(error)) is not None:
                raise StoreError(f"store {self.where}{told}") from error
            raise StoreUnreachableError(
                f"store {self.where} does not answer: {type(error).__name__}: {error}"
            ) from error

    @abstractmethod
    def _refusal(self, error: Exception) -> str | None:
        """Return the message after the store's name if the store has refused; None if it did not answer."""


class RemoteStorage:
    """See `Storage`. Adapter files are never removed there: another writer may be about to name them."""

    def __init__(self, remote: Remote, elsewhere: Elsewhere) -> None:
        self.where = remote.where
        self._remote = remote
        self._refresh_s = elsewhere.refresh_s
        self._cache = FileCache(cache_root() / "adapters", elsewhere.cache_max_bytes)
        self._documents: dict[str, tuple[str, bytes]] | None = None  # tag, content; None: no look yet
        self._failure = StoreError("")  # of the first look
        self._next_look_s = 0.0  # time.monotonic()
        self._looking = threading.Lock()

    def index_names(self) -> set[str]:
        """See Storage."""
        parts = (path.rpartition("/") for path in self._look() if path.endswith(INDEX_SUFFIX))
        names = {file.removesuffix(INDEX_SUFFIX) for folder, _, file in parts if folder == DOMAINS}
        return set(filter(is_name, names))

    def read(self, document: str) -> bytes | None:
        """See Storage."""
        found = self._look().get(document)
        return None if found is None else found[1]

    def adapter(self, sha256: str, size_bytes: int) -> tuple[Path, Callable[[], None]]:
        """See Storage."""
        return self._cache.path(sha256), partial(self._fetch, sha256, size_bytes)

    @contextmanager
    def staged(self, source: Path | BinaryIO, max_bytes: int) -> Iterator[Staged]:
        """See Storage."""
        try:
            make_folder(self._cache.folder)
            with staged_copy(source, self._cache.folder, max_bytes) as staged:
                yield staged
        except OSError as error:
            raise unwritable(f"cache {self._cache.folder} ({CACHE_VARIABLE})", error) from error

    @contextmanager
    def writing(self) -> Iterator[None]:
        """See Storage. Writers do not wait for each other."""
        yield

    def keep(self, staged: Staged) -> None:
        """See Storage."""
        self._remote.add(_adapter(staged.sha256), staged.path)
        self._cache.add(staged.sha256, staged.path)

    def update(self, document: str, change: Change) -> None:
        """See Storage."""
        for attempt in range(ATTEMPTS):
            tag, data = self._remote.now(document) or (None, None)
            made = change(data)
            if made is None:
                break
            try:
                made.announce()  # whether the store takes it is not known before
                tag, data = self._remote.put(document, made.data, tag), made.data
                break
            except ChangedMeanwhileError:
                time.sleep(random.uniform(0, min(_MOST_PAUSE_S, 0.02 * 2**attempt)))
        else:
            raise StoreUnreachableError(
                f"store {self.where}: others changed {document} {ATTEMPTS} times meanwhile"
            )
        with self._looking:  # so that a look that began before does not bring back the old one
            if self._documents is not None and tag is not None and data is not None:
                self._documents = {**self._documents, document: (tag, data)}

    def sweep(self, named: Callable[[], set[str]]) -> None:
        """Do nothing: see the class."""

    def _look(self) -> dict[str, tuple[str, bytes]]:
        """Return the documents, looked at again if it is time.

        Raises StoreUnreachableError or StoreError if no look has succeeded yet.
        """
        known = self._documents
        if known is not None and time.monotonic() < self._next_look_s:
            return known
        if not self._looking.acquire(blocking=known is None):
            assert known is not None
            return known  # another thread looks
        try:
            if time.monotonic() < self._next_look_s:  # another thread has looked
                if self._documents is None:
                    raise type(self._failure)(str(self._failure))
                return self._documents
            return self._looked()
        finally:
            self._looking.release()

    def _looked(self) -> dict[str, tuple[str, bytes]]:
        try:
            self._documents = self._found(self._documents or {})
            self._next_look_s = time.monotonic() + self._refresh_s
        except StoreError as error:
            self._next_look_s = time.monotonic() + max(self._refresh_s, RETRY_S)
            if self._documents is None:
                self._failure = error
                raise
            logger.warning("%s; what it held before goes on being used", error)
        return self._documents

    def _found(self, known: dict[str, tuple[str, bytes]]) -> dict[str, tuple[str, bytes]]:
        tags = {f"{DOMAINS}/{file}": tag for file, tag in self._remote.tags(DOMAINS).items()}
        tags |= {file: tag for file, tag in self._remote.tags("").items() if file == ALIASES}
        kept = {path: known[path] for path, tag in tags.items() if path in known and known[path][0] == tag}
        contents = self._remote.read(path for path in tags if path not in kept)
        return kept | {path: (tags[path], data) for path, data in contents.items()}

    def _fetch(self, sha256: str, size_bytes: int) -> None:
        path = _adapter(sha256)
        try:
            self._cache.fetch(sha256, size_bytes, partial(self._remote.fetch, path, size_bytes))
        except (StoreError, OSError) as error:
            raise AdapterUnreadableError(
                f"{path} of store {self.where} cannot be fetched: {error}"
            ) from error
        except AdapterError as error:
            raise AdapterError(f"{path} of store {self.where}: {error}") from error


def _adapter(sha256: str) -> str:
    return f"adapters/{sha256}{ADAPTER_SUFFIX}"
