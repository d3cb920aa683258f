"""Values that the store returns: immutable versions, and domains with their versions."""

from __future__ import annotations

import contextlib
import errno
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from adapters_store.disk import read_file
from adapters_store.index import Event
from adapters_store.names import Reference, pinned_reference
from ssvd_asr.errors import AdapterError, AdapterUnreadableError, StoreError

if TYPE_CHECKING:
    from ssvd_asr.adapter.metadata import AdapterMetadata

_LASTING = {errno.ENOENT, errno.EACCES, errno.EPERM, errno.ELOOP}  # last until the file is changed
_METADATA_KEPT = 32  # a few MB each for adapters of a 1B model


@dataclass(frozen=True)
class Version:
    """Immutable version of a domain. The digest identifies it; the number is for people."""

    name: str
    version: int
    sha256: str  # of the file, lower-case hexadecimal
    size_bytes: int
    path: Path  # on this machine; of a store elsewhere it is there after `file()`
    builtin: bool
    published_at: str | None  # ISO 8601, UTC; None for a built-in
    fetch: Callable[[], None] | None = field(default=None, compare=False, repr=False)  # of a store elsewhere

    @property
    def reference(self) -> str:
        """Reference "name@version", which always resolves to this version."""
        return f"{self.name}@{self.version}"

    @property
    def pinned(self) -> str:
        """Reference "name@sha256:...", which means this file whatever happens to the store's numbers."""
        return pinned_reference(self.name, self.sha256)

    def file(self) -> Path:
        """Return the path of the file, which is fetched first if the store is elsewhere and it is not here.

        Raises:
            AdapterUnreadableError: the store does not answer.
            AdapterError: what the store has is not this file.
        """
        if self.fetch is not None:
            self.fetch()
        return self.path

    def read_bytes(self) -> bytes:
        """Return the file's bytes after checking their digest.

        Raises:
            AdapterUnreadableError: the disk fails, or the process has too many files open.
            AdapterError: the file is gone, a link, not readable for this process, or not as it was published.
        """
        data, found = self._read()
        if found != self.sha256 and self.fetch is not None:  # the copy here is damaged, not the store
            with contextlib.suppress(OSError):
                self.path.unlink()
            data, found = self._read()
        if found != self.sha256:
            raise AdapterError(f"{self.reference}: its file has changed: sha256 {found}, not {self.sha256}")
        return data

    def _read(self) -> tuple[bytes, str]:
        """Return the file's bytes and their digest. Raises as `read_bytes` does, but for a wrong digest."""
        try:
            data = read_file(self.file(), self.size_bytes)
        except (OSError, StoreError) as error:
            passing = isinstance(error, OSError) and error.errno not in _LASTING
            kind = AdapterUnreadableError if passing else AdapterError
            raise kind(f"{self.reference}: its file cannot be read: {error}") from error
        return data, hashlib.sha256(data).hexdigest()

    @property
    def metadata(self) -> AdapterMetadata:
        """Metadata of the file, read after checking its digest and then cached.

        Raises:
            AdapterError: the file is gone, changed, or no adapter.
        """
        return _verified_metadata(self)


@dataclass(frozen=True)
class Domain:
    """Domain: a name, its versions in order of their number, and the active one."""

    name: str
    active: Version
    versions: tuple[Version, ...]
    events: tuple[Event, ...]  # oldest first
    pinned: tuple[int, ...] = ()  # numbers of versions that are not removed


@lru_cache(maxsize=_METADATA_KEPT)
def _verified_metadata(version: Version) -> AdapterMetadata:
    # The key is all of a version with its digest, so an entry is not reused for other bytes.
    from ssvd_asr.adapter.read import inspect_adapter

    return inspect_adapter(version.read_bytes())


def pinned_by(reference: Reference, versions: Sequence[Version]) -> list[Version]:
    """Return those of a domain's versions that have the number or the digest of a pinned reference."""
    return [
        each
        for each in versions
        if each.version == reference.version
        or (reference.digest_start is not None and each.sha256.startswith(reference.digest_start))
    ]
