"""Catalogue for readers of the store: names, versions and digests, read from disk on every call.

No index is cached, so the next `resolve` sees what another process has published.
"""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path

from adapters_store.disk import files_in, read_file
from adapters_store.index import BUILTIN_VERSION, DomainIndex
from adapters_store.names import Reference, check_name, is_name, parse_name, parse_reference
from adapters_store.packaged import PACKAGED, builtins
from adapters_store.versions import Domain, Version
from adapters_store.voices import Voices
from ssvd_asr.errors import StoreError, UnknownDomainError

STORE_VARIABLE = "SSVD_STORE"
ADAPTER_SUFFIX = ".safetensors"
INDEX_SUFFIX = ".json"
MAX_INDEX_BYTES = 16 * 2**20

logger = logging.getLogger(__name__)


def default_root() -> Path:
    """Return SSVD_STORE if it is set, else a folder in the user's data folder by platformdirs."""
    if chosen := os.environ.get(STORE_VARIABLE):
        return Path(chosen)
    import platformdirs

    return Path(platformdirs.user_data_dir("ssvd-asr", appauthor=False)) / "store"


def unknown_domain(name: str) -> UnknownDomainError:
    """Return the error for a name that the store lacks, or that does not exist for a caller."""
    return UnknownDomainError(f"no domain {name!r} in the store")


class Catalogue:
    """Content of a store. It writes nothing, and needs neither a lock nor a root that exists."""

    def __init__(self, root: Path | str | None = None, builtin: Path | str = PACKAGED) -> None:
        """Open a store without writing. The first publish creates the root.

        Args:
            root: default `default_root()`.
            builtin: the folder of built-in adapters.
        """
        self.root = Path(default_root() if root is None else root).absolute()
        self.builtin = Path(builtin)
        self._domains = self.root / "domains"
        self._adapters = self.root / "adapters"
        self.voices = Voices(self.root, self.builtin)

    def resolve(self, reference: str) -> Version:
        """Find "child" (its active version), "child@3" or "child@sha256:<12 or more digits>".

        Raises:
            UnknownDomainError: there is no such name or version.
            StoreError: the domain's index is damaged.
        """
        wanted = parse_reference(reference)
        index, builtin = self._load(wanted.name)
        return self._find(wanted, index, builtin)

    def versions(self, name: str) -> tuple[Version, ...]:
        """Return all versions of a name, in order of their number.

        Raises:
            UnknownDomainError: there is no such name.
            StoreError: its index is damaged.
        """
        return self.get(name).versions

    def get(self, name: str) -> Domain:
        """Return a domain with its versions and history.

        Raises:
            UnknownDomainError: there is no such name.
            StoreError: its index is damaged.
        """
        index, builtin = self._load(parse_name(name))
        active = self._find(Reference(index.name), index, builtin)
        return Domain(index.name, active, self._versions(index, builtin), index.events)

    def heir(self, name: str, version: int) -> Version | None:
        """Return the version that would answer for a name if this one, its active one, were removed.

        None: the name would be unknown. Raises as `get` does.
        """
        index, builtin = self._load(parse_name(name))
        changed = index.removed({version}, has_builtin=builtin is not None)
        found = {each.version: each for each in self._versions(changed, builtin)}
        return None if changed.active is None else found.get(changed.active)

    def list(self) -> list[Domain]:
        """Return every domain, by name.

        A domain whose index is damaged is logged and left out, so that the others can be served.  For that
        domain `get` raises the error.
        """
        found = []
        for name in sorted({*self._index_names(), *builtins(self.builtin)}):
            try:
                found.append(self.get(name))
            except UnknownDomainError:
                continue  # every version was removed
            except StoreError as error:
                logger.error("%s", error)
        return found

    def _load(self, name: str) -> tuple[DomainIndex, Version | None]:
        """Return the index now on disk, and the built-in of this name unless the index has a version 1."""
        builtin = builtins(self.builtin).get(name)
        path = files_in(self._domains).get(f"{name}{INDEX_SUFFIX}")
        if path is None:
            return DomainIndex.empty(name, has_builtin=builtin is not None), builtin
        try:
            index = DomainIndex.from_json(read_file(path, MAX_INDEX_BYTES), name)
        except OSError as error:
            raise StoreError(f"index of domain {name!r} cannot be read: {error}") from error
        return index, None if index.find(BUILTIN_VERSION) else builtin

    def _find(self, wanted: Reference, index: DomainIndex, builtin: Version | None) -> Version:
        versions = self._versions(index, builtin)
        if not versions:
            raise unknown_domain(wanted.name)
        if not wanted.pinned:
            wanted = replace(wanted, version=index.active)
            if index.active not in [each.version for each in versions]:
                raise StoreError(
                    f"the active version of {wanted.name!r} is built-in {wanted.version}, which this "
                    f"installation has not; activate one of {[each.version for each in versions]}"
                )
        found = [
            each
            for each in versions
            if each.version == wanted.version
            or (wanted.digest_start is not None and each.sha256.startswith(wanted.digest_start))
        ]
        if len(found) == 1:
            return found[0]
        pin = wanted.version if wanted.digest_start is None else f"sha256:{wanted.digest_start}"
        known = ", ".join(f"{each.version} (sha256:{each.sha256[:12]})" for each in versions)
        raise UnknownDomainError(
            f"domain {wanted.name!r} has {len(found) or 'no'} versions {pin}; it has {known}"
        )

    def _versions(self, index: DomainIndex, builtin: Version | None) -> tuple[Version, ...]:
        published = tuple(
            Version(
                name=index.name,
                version=entry.version,
                sha256=entry.sha256,
                size_bytes=entry.size_bytes,
                path=self._adapter_path(entry.sha256),
                builtin=False,
                published_at=entry.published_at,
            )
            for entry in index.versions
        )
        return published if builtin is None else (builtin, *published)

    def _index_path(self, name: str) -> Path:
        return self._domains / f"{check_name(name)}{INDEX_SUFFIX}"

    def _adapter_path(self, sha256: str) -> Path:
        return self._adapters / f"{sha256}{ADAPTER_SUFFIX}"

    def _index_names(self) -> set[str]:
        """Return the names that have an index. Other files in the folder are ignored."""
        files = (file for file in files_in(self._domains) if file.endswith(INDEX_SUFFIX))
        return set(filter(is_name, (file.removesuffix(INDEX_SUFFIX) for file in files)))
