"""What the store hands out: immutable versions, and domains as lists of them."""

from __future__ import annotations

import errno
import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from adapters_store.disk import read_file
from adapters_store.index import Event
from ssvd_asr.errors import AdapterError, AdapterUnreadableError, StoreError

if TYPE_CHECKING:
    from ssvd_asr.adapter.metadata import AdapterMetadata

_LASTING = {errno.ENOENT, errno.EACCES, errno.EPERM, errno.ELOOP}  # until somebody changes the file
_METADATA_KEPT = 32  # of a 1B model's adapter it is a few MB


@dataclass(frozen=True)
class Version:
    """One immutable version of a domain. The digest is its identity; the number is for people."""

    name: str
    version: int
    sha256: str  # of the file, lower-case hexadecimal
    size_bytes: int
    path: Path
    builtin: bool
    published_at: str | None  # ISO 8601, UTC; None for a built-in

    @property
    def reference(self) -> str:
        """ "name@version", which resolves to this version for good."""
        return f"{self.name}@{self.version}"

    def read_bytes(self) -> bytes:
        """The file, verified.

        Raises:
            AdapterUnreadableError: the disk fails, or the process has too many files open.
            AdapterError: it is gone, a link, closed to us, or its bytes are not those that were published.
        """
        try:
            data = read_file(self.path, self.size_bytes)
        except (OSError, StoreError) as error:
            passing = isinstance(error, OSError) and error.errno not in _LASTING
            kind = AdapterUnreadableError if passing else AdapterError
            raise kind(f"{self.reference}: its file cannot be read: {error}") from error
        found = hashlib.sha256(data).hexdigest()
        if found != self.sha256:
            raise AdapterError(f"{self.reference}: its file has changed: sha256 {found}, not {self.sha256}")
        return data

    @property
    def metadata(self) -> AdapterMetadata:
        """What the file says about itself, of verified bytes; read when asked for, and then kept.

        Raises:
            AdapterError: the file is gone, changed, or no adapter.
        """
        return _verified_metadata(self)


@dataclass(frozen=True)
class Domain:
    """A name, its versions in order of their number, and which of them answers for the name."""

    name: str
    active: Version
    versions: tuple[Version, ...]
    events: tuple[Event, ...]  # what was done to it, oldest first


@lru_cache(maxsize=_METADATA_KEPT)
def _verified_metadata(version: Version) -> AdapterMetadata:
    # Keyed by all of a version, its digest included: what is kept can never be of other bytes.
    from ssvd_asr.adapter.read import inspect_adapter

    version.read_bytes()
    return inspect_adapter(version.path)
