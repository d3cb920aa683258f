"""Disk operations of the store. Each leaves either the old state or the new one.

Data is written to a scratch file, synced and moved into place; then the folder is synced. Links are not
followed below the store's root, and only regular files are read.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ssvd_asr.errors import AdapterError, StoreError

_CHUNK_BYTES = 2**20
_STAGED = ".staged-"
_STALE_S = 24 * 3600.0  # a check may take minutes, never a day; older files are from a crash
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


@dataclass(frozen=True)
class Staged:
    """Synced copy on the store's own file system, not yet visible."""

    path: Path
    sha256: str
    size_bytes: int

    def check_unchanged(self) -> None:
        """Raise StoreError if the copy has changed since it was made."""
        if hashlib.sha256(read_file(self.path, self.size_bytes)).hexdigest() != self.sha256:
            raise StoreError(f"{self.path} was changed while it was checked")


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, durably."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    with contextlib.suppress(FileExistsError):  # another process was faster
        folder.mkdir()
    sync_folder(folder.parent)


def files_in(folder: Path) -> dict[str, Path]:
    """Return the regular files of a folder by name; none if there is no folder.

    Raises:
        StoreError: the path is a link, is not a folder, or cannot be read.
    """
    try:
        mode = os.lstat(folder).st_mode
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StoreError(f"{folder} cannot be read: {error.strerror}") from error
    if not stat.S_ISDIR(mode):
        raise StoreError(f"{folder} is not a folder (links are not followed)")
    try:
        with os.scandir(folder) as entries:
            return {entry.name: Path(entry.path) for entry in entries if entry.is_file(follow_symlinks=False)}
    except OSError as error:
        raise StoreError(f"{folder} cannot be read: {error.strerror}") from error


def read_file(path: Path, max_bytes: int) -> bytes:
    """Return the bytes of a regular file of the store.

    Raises:
        OSError: the file cannot be opened, or is a link.
        StoreError: the file is not a regular one, or is larger than max_bytes.
    """
    with open_regular(os.open(path, _READ), path) as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise StoreError(f"{path} is larger than {max_bytes} bytes")
    return data


def hash_of(path: Path) -> str:
    """Return the SHA-256 of a file, lower-case hexadecimal. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_regular(descriptor: int, path: Path) -> BinaryIO:
    """Return the descriptor as a file. If it is not a regular one, close it and raise StoreError."""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise StoreError(f"{path} is not a regular file")
    return os.fdopen(descriptor, "rb")


def write_file(
    path: Path, data: bytes, mode: int = 0o644, announce: Callable[[], None] | None = None
) -> None:
    """Make `path` hold `data`. If this fails or the machine stops, it holds all of it or its old content.

    Args:
        mode: who may read it; by default all, since a server may run under another user.
        announce: called when the data is on the disk beside `path`, right before it is moved there. A full
            disk is found out before that. If it raises, `path` keeps its old content.
    """
    with scratch_file(path.parent) as (descriptor, scratch):
        _write_all(descriptor, data)
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
        if announce is not None:
            announce()
        os.replace(scratch, path)
    sync_folder(path.parent)


@contextlib.contextmanager
def staged_copy(source: Path | BinaryIO, folder: Path, max_bytes: int) -> Iterator[Staged]:
    """Copy a file into the store's folder and hash it. The copy is removed unless `commit` moves it.

    An open file is read from its position on and stays open.

    Raises:
        OSError: the folder cannot be written.
        StoreError: the source cannot be read, is not a regular file, or is larger than max_bytes.
        AdapterError: the source is empty.
    """
    with _opened(source) as file, scratch_file(folder) as (descriptor, path):
        digest, size = hashlib.sha256(), 0
        while chunk := file.read(_CHUNK_BYTES):
            size += len(chunk)
            if size > max_bytes:
                raise StoreError(
                    f"{_named(source)} is larger than the limit of {max_bytes} bytes (max_bytes)"
                )
            digest.update(chunk)
            _write_all(descriptor, chunk)
        if not size:
            raise AdapterError(f"{_named(source)} is empty")
        os.fchmod(descriptor, 0o444)  # versions do not change
        os.fsync(descriptor)
        yield Staged(path, digest.hexdigest(), size)


@contextlib.contextmanager
def _opened(source: Path | BinaryIO) -> Iterator[BinaryIO]:
    if not isinstance(source, Path):
        yield source
        return
    # The source may be a link, as in many caches, because only the copy of its bytes is used.
    try:
        opened = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise StoreError(f"{source} cannot be read: {error.strerror}") from error
    with open_regular(opened, source) as file:
        yield file


def _named(source: Path | BinaryIO) -> str:
    return str(source) if isinstance(source, Path) else "the file"


def commit(staged: Staged, path: Path) -> None:
    """Move a staged copy to its place, durably."""
    os.replace(staged.path, path)
    sync_folder(path.parent)


def remove_file(path: Path) -> None:
    """Remove a file, durably. It may be gone already."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    sync_folder(path.parent)


def is_scratch(name: str) -> bool:
    """Return whether this is the name of a scratch file, of a running writer or a crashed one."""
    return name.startswith(_STAGED)


def remove_stale(folder: Path) -> None:
    """Remove the scratch files that crashed writers left in a folder."""
    for name, path in files_in(folder).items():
        with contextlib.suppress(FileNotFoundError):
            if is_scratch(name) and time.time() - path.lstat().st_mtime > _STALE_S:
                os.unlink(path)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def scratch_file(folder: Path) -> Iterator[tuple[int, Path]]:
    """Create a scratch file beside its later place. It is removed at the end if it is still there."""
    descriptor, name = tempfile.mkstemp(prefix=_STAGED, dir=folder)
    try:
        yield descriptor, Path(name)
    finally:
        os.close(descriptor)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
