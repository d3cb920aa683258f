"""Store of adapters: immutable versions named by their digest, one of them active for each domain.

    <root>/domains/<name>.json              a domain's index, the only file that ever changes (index.py)
    <root>/adapters/<sha256>.safetensors    one file for each content, never changed
    <root>/.lock                            held by writers; readers need none

A change becomes visible only when an index is replaced.  A crash at any point leaves the old state, and at
worst an adapter file that no index names, which the next writer removes.  Built-in adapters are in a folder
outside the root, read only, each version 1 of its name.  Versions published under their names begin at 2.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from adapters_store.catalogue import ADAPTER_SUFFIX, INDEX_SUFFIX, STORE_VARIABLE, Catalogue, default_root
from adapters_store.disk import (
    Staged,
    commit,
    files_in,
    is_scratch,
    make_folder,
    remove_file,
    remove_stale,
    staged_copy,
    write_file,
)
from adapters_store.index import BUILTIN_VERSION, DomainIndex
from adapters_store.names import Reference, check_name, parse_name
from adapters_store.versions import Domain, Version
from ssvd_asr.errors import StoreError

__all__ = ["STORE_VARIABLE", "AdapterStore", "Domain", "Version", "check_name", "default_root"]

LOCK_TIMEOUT_S = 30.0  # writers hold it for milliseconds, because checks run before
MAX_ADAPTER_BYTES = 512 * 2**20

_ADAPTER_FILE = re.compile(r"[0-9a-f]{64}\.safetensors")

Check = Callable[[Path], object]

logger = logging.getLogger(__name__)


class AdapterStore(Catalogue):
    """Store under one root. Any number of stores and processes may work on the same root."""

    def publish(self, name: str, file: Path | str, *, check: Check | None = None) -> Version:
        """Copy an adapter file into the store as a new version of the name, and make it active.

        Only the copy is checked and published; the file is not needed afterwards.  If the name already has a
        version with these bytes, that version becomes active again.

        Args:
            check: called with the path of the copy before anything is visible; an exception refuses the copy.

        Raises:
            AdapterError: the file is no adapter.
            StoreError: the name is not allowed, the file cannot be read, or the root cannot be written.
        """
        check_name(name)
        from ssvd_asr.adapter.read import inspect_adapter

        with self._writable(), staged_copy(Path(file), self._adapters, MAX_ADAPTER_BYTES) as staged:
            inspect_adapter(staged.path)
            _run(check, staged)
            with self._lock():
                self._sweep()
                index, builtin = self._load(name)
                if builtin is not None and staged.sha256 == builtin.sha256:
                    changed = index.activated(BUILTIN_VERSION)
                else:
                    commit(staged, self._adapter_path(staged.sha256))
                    changed = index.published(staged.sha256, staged.size_bytes)
                return self._write(index, changed, builtin)

    def activate(self, name: str, version: int) -> Version:
        """Make an existing version of the name active.

        Raises:
            UnknownDomainError: there is no such name or version.
            StoreError: the root cannot be written.
        """
        wanted = Reference(parse_name(name), version=version)
        with self._writable(), self._lock():
            index, builtin = self._load(wanted.name)
            self._find(wanted, index, builtin)
            return self._write(index, index.activated(version), builtin)

    def rollback(self, name: str) -> Version:
        """Make the previously active version active. Doing it again goes further back.

        Raises:
            UnknownDomainError: there is no such name.
            StoreError: none was active before, or the root cannot be written.
        """
        wanted = Reference(parse_name(name))
        with self._writable(), self._lock():
            index, builtin = self._load(wanted.name)
            self._find(wanted, index, builtin)
            return self._write(index, index.rolled_back(), builtin)

    def remove(self, name: str, version: int | None = None) -> tuple[Version, ...]:
        """Remove a version, or all versions but the active one; return what was removed.

        The active version is removed only if its number is given.  The version active before it then takes
        over; if none is left, the name becomes unknown.  Numbers are never reused.

        Raises:
            UnknownDomainError: there is no such name or version.
            StoreError: the version is built in, there is no version but the active one, or the root cannot be
                written.
        """
        wanted = Reference(parse_name(name), version=version)
        with self._writable(), self._lock():
            index, builtin = self._load(wanted.name)
            found = self._find(wanted, index, builtin)
            doomed: tuple[Version, ...] = (found,)
            if version is None:
                others = self._versions(index, builtin)
                doomed = tuple(each for each in others if not each.builtin and each.version != index.active)
            if found.builtin and (version is not None or not doomed):
                raise StoreError(f"{found.reference} is built in and cannot be removed")
            if not doomed:
                raise StoreError(
                    f"{found.reference} is active and the only version; name its number to remove it"
                )
            numbers = {each.version for each in doomed}
            changed = index.removed(numbers, has_builtin=builtin is not None)
            write_file(self._index_path(index.name), changed.to_json())
            self._sweep()
            return doomed

    def _write(self, index: DomainIndex, changed: DomainIndex, builtin: Version | None) -> Version:
        """Write a changed index to disk, and return its active version."""
        version = self._find(Reference(changed.name), changed, builtin)
        if changed != index:
            write_file(self._index_path(changed.name), changed.to_json())
        return version

    def _sweep(self) -> None:
        """Remove leftovers of crashed writers: stale copies, and adapter files that no index names."""
        remove_stale(self._adapters)
        remove_stale(self._domains)
        named = set()
        names = self._index_names()
        strange = {
            file
            for file in os.listdir(self._domains)
            if file.removesuffix(INDEX_SUFFIX) not in names and not is_scratch(file)
        }
        if strange:  # a moved or linked index may name adapter files that look unused
            logger.warning("nothing is swept: %s is no index of the store", self._domains / min(strange))
            return
        for name in names:
            try:
                index, _ = self._load(name)
            except StoreError as error:
                logger.warning("nothing is swept: %s", error)
                return  # the files that a damaged index names are unknown
            named |= {f"{entry.sha256}{ADAPTER_SUFFIX}" for entry in index.versions}
        for file, path in files_in(self._adapters).items():
            if _ADAPTER_FILE.fullmatch(file) and file not in named:
                remove_file(path)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        try:
            with filelock.FileLock(self.root / ".lock", timeout=LOCK_TIMEOUT_S):
                yield
        except filelock.Timeout as error:
            raise StoreError(
                f"store {self.root} has been locked by another process for {LOCK_TIMEOUT_S} s"
            ) from error

    @contextmanager
    def _writable(self) -> Iterator[None]:
        """Make the folders, and turn the operating system's errors into StoreError."""
        try:
            make_folder(self._domains)
            make_folder(self._adapters)
            yield
        except OSError as error:
            raise StoreError(f"store {self.root} ({STORE_VARIABLE}): {error}") from error


def _run(check: Check | None, staged: Staged) -> None:
    try:
        if check is not None:
            check(staged.path)
    except OSError as error:  # not the store's, so the message must not blame the root
        raise StoreError(f"the file could not be checked: {error}") from error
    staged.check_unchanged()
