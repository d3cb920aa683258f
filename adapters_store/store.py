"""Store of adapters: immutable versions named by their digest, one of them active for each domain.

    <root>/domains/<name>.json              a domain's index (index.py); these and the aliases alone change
    <root>/aliases.json                     names that stand for a domain or a version (aliases.py)
    <root>/adapters/<sha256>.safetensors    one file for each content, never changed
    <root>/.lock                            held by writers; readers need none

A change becomes visible only when an index is replaced.  A crash at any point leaves the old state, and at
worst an adapter file that no index names, which the next writer removes.  Built-in adapters are in a folder
outside the root, read only, each version 1 of its name.  Versions published under their names begin at 2.

A store elsewhere (places.py) has the same files without the lock: a changed index replaces the one that was
read, or nothing, and adapter files stay.  Each change is a line of the audit log right before it becomes
visible, and after what it writes is on the disk.  A change that fails after that has a line without an event
in the index.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import BinaryIO

from adapters_store.aliases import Aliases
from adapters_store.audit import Actor, AuditLog, local_user
from adapters_store.catalogue import Catalogue, default_place
from adapters_store.disk import Staged
from adapters_store.index import BUILTIN_VERSION, DomainIndex
from adapters_store.names import Reference, check_name, parse_name, parse_reference
from adapters_store.packaged import PACKAGED
from adapters_store.remote_storage import Elsewhere
from adapters_store.removal import removable
from adapters_store.storage import ALIASES, STORE_VARIABLE, Replacement, index_document
from adapters_store.versions import Domain, Version
from ssvd_asr.errors import StoreError, StoreRefusedError

__all__ = ["STORE_VARIABLE", "AdapterStore", "Domain", "Version", "check_name", "default_place"]

MAX_ADAPTER_BYTES = 512 * 2**20

Check = Callable[[Path], object]
Step = Callable[[DomainIndex, Version | None], DomainIndex]  # the index now, the built-in; the index then


class AdapterStore(Catalogue):
    """Store at one place. Any number of stores and processes may work on the same place.

    Its changes take `by`, who makes them; without it, the user of this process does.
    """

    def __init__(
        self,
        place: Path | str | None = None,
        builtin: Path | str = PACKAGED,
        elsewhere: Elsewhere | None = None,
        audit: AuditLog | None = None,
    ) -> None:
        """See Catalogue. `audit`: default the log at `default_audit_path()`."""
        super().__init__(place, builtin, elsewhere)
        self.audit = AuditLog() if audit is None else audit

    def publish(
        self,
        name: str,
        file: Path | str | BinaryIO,
        *,
        check: Check | None = None,
        activate: bool = True,
        by: Actor | None = None,
    ) -> Version:
        """Copy an adapter file into the store as a new version of the name, and make it active.

        Only the copy is checked and published; the file is not needed afterwards.  If the name already has a
        version with these bytes, that version becomes active again.

        Args:
            check: called with the path of the copy before anything is visible; an exception refuses the copy.
            activate: if false, the version that is active stays so.

        Raises:
            AdapterError: the file is no adapter.
            StoreError: the name is not allowed, the file cannot be read, or the root cannot be written.
            StoreRefusedError: the name is an alias, or no version would be active.
        """
        check_name(name)
        from ssvd_asr.adapter.read import inspect_adapter

        source = Path(file) if isinstance(file, str) else file
        with self._storage.staged(source, MAX_ADAPTER_BYTES) as staged:
            inspect_adapter(staged.path)
            _run(check, staged)
            with self._storage.writing():
                self._storage.sweep(self._named)
                if not self.has(name) and name in self.aliases():  # a domain is never hidden by an alias
                    raise StoreRefusedError(
                        f"{name!r} is an alias: choose another name, or remove the alias",
                        code="name_is_alias",
                    )

                def step(index: DomainIndex, builtin: Version | None) -> DomainIndex:
                    if builtin is not None and staged.sha256 == builtin.sha256:
                        return index.activated(BUILTIN_VERSION) if activate else index
                    changed = index.published(staged.sha256, staged.size_bytes, activate=activate)
                    self._storage.keep(staged)
                    return changed

                changed, builtin = self._change(name, step, by)
                number = changed.number_of(staged.sha256) or BUILTIN_VERSION
                return self._find(Reference(name, version=number), changed, builtin)

    def activate(self, name: str, version: int, *, by: Actor | None = None) -> Version:
        """Make an existing version of the name active.

        Raises:
            UnknownDomainError: there is no such name or version.
            StoreError: the root cannot be written.
        """
        wanted = Reference(parse_name(name), version=version)

        def step(index: DomainIndex, builtin: Version | None) -> DomainIndex:
            self._find(wanted, index, builtin)
            return index.activated(version)

        with self._storage.writing():
            return self._active(*self._change(wanted.name, step, by))

    def rollback(self, name: str, *, by: Actor | None = None) -> Version:
        """Make the previously active version active. Doing it again goes further back.

        Raises:
            UnknownDomainError: there is no such name.
            StoreRefusedError: none was active before.
            StoreError: the root cannot be written.
        """
        wanted = Reference(parse_name(name))

        def step(index: DomainIndex, builtin: Version | None) -> DomainIndex:
            self._find(wanted, index, builtin)
            return index.rolled_back()

        with self._storage.writing():
            return self._active(*self._change(wanted.name, step, by))

    def pin(self, name: str, version: int, *, pinned: bool = True, by: Actor | None = None) -> Version:
        """Keep a version from being removed, or with `pinned=False` let it be removed again.

        Raises:
            UnknownDomainError: there is no such name or version.
            StoreRefusedError: the version is built in, and cannot be removed anyway.
            StoreError: the root cannot be written.
        """
        wanted = Reference(parse_name(name), version=version)

        def step(index: DomainIndex, builtin: Version | None) -> DomainIndex:
            if (found := self._find(wanted, index, builtin)).builtin:
                raise StoreRefusedError(
                    f"{found.reference} is built in and cannot be removed anyway", code="built_in"
                )
            return index.with_pin(version, pinned=pinned)

        with self._storage.writing():
            return self._find(wanted, *self._change(wanted.name, step, by))

    def remove(
        self, name: str, version: int | None = None, *, by: Actor | None = None, keep_active: bool = False
    ) -> tuple[Version, ...]:
        """Remove a version, or all but the active, the pinned and the aliased ones; return what was removed.

        The active version is removed only if its number is given.  The version active before it then takes
        over; if none is left, the name becomes unknown.  Numbers are never reused.

        Args:
            keep_active: refuse to remove a version that is active at that moment.

        Raises:
            UnknownDomainError: there is no such name or version.
            StoreRefusedError: the version is built in, pinned or aliased, or there is none to remove.
            StoreError: the root cannot be written.
        """
        wanted = Reference(parse_name(name), version=version)
        removed: tuple[Version, ...] = ()

        def step(index: DomainIndex, builtin: Version | None) -> DomainIndex:
            nonlocal removed
            found = self._find(wanted, index, builtin)
            removed = removable(found, wanted, index, self._versions(index, builtin), self.aliases())
            if keep_active and version == index.active:
                raise StoreRefusedError(f"{name}@{version} has become active", code="version_active")
            return index.removed({each.version for each in removed}, has_builtin=builtin is not None)

        with self._storage.writing():
            self._change(wanted.name, step, by)
            self._storage.sweep(self._named)
            return removed

    def set_alias(self, alias: str, stands_for: str, *, by: Actor | None = None) -> Version:
        """Let a name stand for a domain, or for one version of it; return what it means now.

        Raises:
            UnknownDomainError: there is no such domain or version.
            StoreRefusedError: a domain has the name, so that the alias would hide it.
            StoreError: the name is not allowed, or the root cannot be written.
        """
        check_name(alias)
        wanted = parse_reference(stands_for)
        with self._storage.writing():
            if self.has(alias):
                raise StoreRefusedError(
                    f"{alias!r} is a domain, which an alias of that name would hide", code="name_is_domain"
                )
            found = self._resolve(wanted)

            def change(text: bytes | None) -> Replacement | None:
                known = Aliases.from_json(text)
                if known.aliases.get(alias) == wanted.text:
                    return None
                line = partial(self.audit.add, "alias.set", by or local_user())
                announce = partial(line, alias=alias, stands_for=wanted.text, sha256=found.sha256)
                return Replacement(known.with_alias(alias, wanted.text).to_json(), announce)

            self._storage.update(ALIASES, change)
            return found

    def remove_alias(self, alias: str, *, by: Actor | None = None) -> None:
        """Remove an alias. Raises UnknownDomainError if there is none, StoreError if it cannot be written."""

        def change(text: bytes | None) -> Replacement:
            changed = Aliases.from_json(text).without(alias)
            line = partial(self.audit.add, "alias.remove", by or local_user(), alias=alias)
            return Replacement(changed.to_json(), line)

        with self._storage.writing():
            self._storage.update(ALIASES, change)

    def _change(self, name: str, step: Step, by: Actor | None) -> tuple[DomainIndex, Version | None]:
        """Replace the index of a domain by what `step` makes of it; return that, and the built-in.

        A line of the audit log for each new event comes right before.
        """
        made: tuple[DomainIndex, Version | None] | None = None

        def change(text: bytes | None) -> Replacement | None:
            nonlocal made
            index, builtin = self._parsed(name, text)
            changed = step(index, builtin)
            made = changed, builtin
            if changed == index:
                return None
            if changed.active is not None:
                self._active(changed, builtin)  # raises if this installation has not that built-in
            digests = {each.version: each.sha256 for each in self._versions(index, builtin)}
            digests |= {entry.version: entry.sha256 for entry in changed.versions}

            def announce() -> None:
                for event in changed.events[len(index.events) :]:
                    self.audit.add(
                        f"domain.{event.action}",
                        by or local_user(),
                        domain=name,
                        version=event.version,
                        sha256=digests[event.version],
                    )

            return Replacement(changed.to_json(), announce)

        self._storage.update(index_document(name), change)
        assert made is not None
        return made

    def _named(self) -> set[str]:
        """Return the digests that any index names. Raises StoreError if one is damaged."""
        names: Iterable[str] = self._storage.index_names()
        return {entry.sha256 for name in names for entry in self._load(name)[0].versions}


def _run(check: Check | None, staged: Staged) -> None:
    try:
        if check is not None:
            check(staged.path)
    except OSError as error:  # not the store's, so the message must not blame the root
        raise StoreError(f"the file could not be checked: {error}") from error
    staged.check_unchanged()
