"""Catalogue for readers of the store: names, versions and digests.

Of a folder no index is cached, so the next `resolve` sees what another process has published. Of a store
elsewhere it sees what was there at most `Elsewhere.refresh_s` ago.
"""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path

from adapters_store.aliases import Aliases
from adapters_store.index import BUILTIN_VERSION, DomainIndex
from adapters_store.names import Reference, parse_name, parse_reference
from adapters_store.packaged import PACKAGED, builtins
from adapters_store.places import open_storage
from adapters_store.remote_storage import Elsewhere
from adapters_store.storage import ALIASES, STORE_VARIABLE, FolderStorage, index_document
from adapters_store.versions import Domain, Version, pinned_by
from adapters_store.voices import Voices
from ssvd_asr.errors import StoreError, UnknownDomainError

logger = logging.getLogger(__name__)


def default_place() -> Path | str:
    """Return SSVD_STORE if it is set, else a folder in the user's data folder by platformdirs."""
    if chosen := os.environ.get(STORE_VARIABLE):
        return chosen
    import platformdirs

    return Path(platformdirs.user_data_dir("ssvd-asr", appauthor=False)) / "store"


def unknown_domain(name: str) -> UnknownDomainError:
    """Return the error for a name that the store lacks, or that does not exist for a caller."""
    return UnknownDomainError(f"no domain {name!r} in the store")


class Catalogue:
    """Content of a store. It writes nothing, and needs neither a lock nor a place that exists.

    Attributes:
        where: the folder or the URL, for messages.
        root: the folder, or None for a store elsewhere.
    """

    def __init__(
        self,
        place: Path | str | None = None,
        builtin: Path | str = PACKAGED,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        """Open a store without writing. The first publish creates it.

        Args:
            place: a folder, or a URL as s3://bucket/prefix; default `default_place()`.
            builtin: the folder of built-in adapters.
            elsewhere: how a store that a URL names is read.

        Raises StoreError for a URL of an unknown kind.
        """
        self._storage = open_storage(default_place() if place is None else place, elsewhere or Elsewhere())
        self.where = self._storage.where
        self.root = self._storage.root if isinstance(self._storage, FolderStorage) else None
        self.builtin = Path(builtin)
        self.voices = Voices(self.root, self.builtin)

    def resolve(self, reference: str) -> Version:
        """Find "child" (its active version), "child@3" or "child@sha256:<12 or more digits>".

        A name is an alias only if no domain of that name has versions.

        Raises:
            UnknownDomainError: there is no such name or version.
            StoreError: the domain's index is damaged, or the aliases are and no domain has the name.
        """
        wanted = parse_reference(reference)
        loaded = self._load(wanted.name)
        meant = self._meaning(wanted, *loaded)
        if meant is None:
            return self._find(wanted, *loaded)
        try:
            return self._resolve(meant)
        except UnknownDomainError as error:
            raise UnknownDomainError(f"{wanted.name!r} is an alias of {meant.text!r}: {error}") from error

    def meaning(self, reference: str) -> str:
        """Return a reference without an alias: what it stands for, or itself.

        Raises UnknownDomainError for what is no reference, and StoreError as `resolve` does.
        """
        wanted = parse_reference(reference)
        meant = self._meaning(wanted, *self._load(wanted.name))
        return reference if meant is None else meant.text

    def aliases(self) -> dict[str, str]:
        """Return the reference that each alias stands for, by alias. Raises StoreError."""
        return dict(sorted(Aliases.from_json(self._storage.read(ALIASES)).aliases.items()))

    def list_aliases(self) -> dict[str, str]:
        """Return the same to be shown: a damaged document is logged, and then there are none.

        What an alias stands for needs the document: `resolve` raises the error for a name that is no domain.
        """
        try:
            return self.aliases()
        except StoreError as error:
            logger.error("%s", error)
            return {}

    def has(self, name: str) -> bool:
        """Return whether a domain of this name has versions. Raises StoreError if its index is damaged."""
        return bool(self._versions(*self._load(name)))

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
        active = self._active(index, builtin)
        return Domain(index.name, active, self._versions(index, builtin), index.events, index.pinned)

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
        for name in sorted({*self._storage.index_names(), *builtins(self.builtin)}):
            try:
                found.append(self.get(name))
            except UnknownDomainError:
                continue  # every version was removed
            except StoreError as error:
                logger.error("%s", error)
        return found

    def _resolve(self, wanted: Reference) -> Version:
        return self._find(wanted, *self._load(wanted.name))

    def _meaning(self, wanted: Reference, index: DomainIndex, builtin: Version | None) -> Reference | None:
        """Return what a reference to an alias stands for; None if a domain has the name, or no alias has."""
        if index.versions or builtin is not None:
            return None
        return Aliases.from_json(self._storage.read(ALIASES)).meaning(wanted)

    def _load(self, name: str) -> tuple[DomainIndex, Version | None]:
        """Return the index in the store, and the built-in of this name unless the index has a version 1."""
        return self._parsed(name, self._storage.read(index_document(name)))

    def _parsed(self, name: str, text: bytes | None) -> tuple[DomainIndex, Version | None]:
        builtin = builtins(self.builtin).get(name)
        if text is None:
            return DomainIndex.empty(name, has_builtin=builtin is not None), builtin
        index = DomainIndex.from_json(text, name)
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
        found = pinned_by(wanted, versions)
        if len(found) == 1:
            return found[0]
        pin = wanted.version if wanted.digest_start is None else f"sha256:{wanted.digest_start}"
        known = ", ".join(f"{each.version} (sha256:{each.sha256[:12]})" for each in versions)
        raise UnknownDomainError(
            f"domain {wanted.name!r} has {len(found) or 'no'} versions {pin}; it has {known}"
        )

    def _active(self, index: DomainIndex, builtin: Version | None) -> Version:
        return self._find(Reference(index.name), index, builtin)

    def _versions(self, index: DomainIndex, builtin: Version | None) -> tuple[Version, ...]:
        published = []
        for entry in index.versions:
            path, fetch = self._storage.adapter(entry.sha256, entry.size_bytes)
            published.append(
                Version(
                    name=index.name,
                    version=entry.version,
                    sha256=entry.sha256,
                    size_bytes=entry.size_bytes,
                    path=path,
                    builtin=False,
                    published_at=entry.published_at,
                    fetch=fetch,
                )
            )
        return tuple(published) if builtin is None else (builtin, *published)
