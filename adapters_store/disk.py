"""The few things the store does to a disk, each of which leaves the old state or the new one.

What is written is written aside, synced, moved into place, and then the folder is synced. Links are not
followed below the store's root, and only regular files are read.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ssvd_asr.errors import StoreError

_CHUNK_BYTES = 2**20
_STAGED = ".staged-"
_STALE_S = 24 * 3600.0  # a check may take minutes, never a day: what is older was left by a crash
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


@dataclass(frozen=True)
class Staged:
    """A copy on the store's own file system, synced, not yet visible."""

    path: Path
    sha256: str
    size_bytes: int

    def check_unchanged(self) -> None:
        """Raise StoreError where whoever looked at the copy has changed it."""
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
    """The regular files of a folder by name; nothing where there is no folder.

    Raises:
        StoreError: the folder is a link, no folder, or closed to us.
    """
    try:
        mode = os.lstat(folder).st_mode
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StoreError(f"{folder} cannot be read: {error.strerror}") from error
    if not stat.S_ISDIR(mode):
        raise StoreError(f"{folder} is not a folder (links are not followed)")
    with os.scandir(folder) as entries:
        return {entry.name: Path(entry.path) for entry in entries if entry.is_file(follow_symlinks=False)}


def read_file(path: Path, max_bytes: int) -> bytes:
    """The bytes of a regular file of the store.

    Raises:
        OSError: it cannot be opened, or is a link.
        StoreError: it is something else, or larger than max_bytes.
    """
    with open_regular(os.open(path, _READ), path) as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise StoreError(f"{path} is larger than {max_bytes} bytes")
    return data


def open_regular(descriptor: int, path: Path) -> BinaryIO:
    """The descriptor as a file, closed again where it is not a regular one (StoreError)."""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise StoreError(f"{path} is not a regular file")
    return os.fdopen(descriptor, "rb")


def write_file(path: Path, data: bytes) -> None:
    """Make `path` hold `data`: all of it or, if this fails or the machine stops, what it held before."""
    with _scratch(path.parent) as (descriptor, scratch):
        _write_all(descriptor, data)
        os.fchmod(descriptor, 0o644)  # a server under another user reads it
        os.fsync(descriptor)
        os.replace(scratch, path)
    sync_folder(path.parent)


@contextlib.contextmanager
def staged_copy(source: Path, folder: Path, max_bytes: int) -> Iterator[Staged]:
    """Copy a file into the store's folder and hash it; gone at the end unless `commit` moved it.

    Raises:
        OSError: the folder cannot be written.
        StoreError: the source cannot be read, is not a regular file, is empty or larger than max_bytes.
    """
    # The source may be a link (caches are full of them): its bytes are copied, and the copy is what counts.
    try:
        opened = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise StoreError(f"{source} cannot be read: {error.strerror}") from error
    with open_regular(opened, source) as file, _scratch(folder) as (descriptor, path):
        digest, size = hashlib.sha256(), 0
        while chunk := file.read(_CHUNK_BYTES):
            size += len(chunk)
            if size > max_bytes:
                raise StoreError(f"{source} is larger than the limit of {max_bytes} bytes (max_bytes)")
            digest.update(chunk)
            _write_all(descriptor, chunk)
        if not size:
            raise StoreError(f"{source} is empty")
        os.fchmod(descriptor, 0o444)  # versions do not change
        os.fsync(descriptor)
        yield Staged(path, digest.hexdigest(), size)


def commit(staged: Staged, path: Path) -> None:
    """Move a staged copy to its place, durably."""
    os.replace(staged.path, path)
    sync_folder(path.parent)


def remove_file(path: Path) -> None:
    """Remove a file, durably; it may be gone already."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    sync_folder(path.parent)


def is_scratch(name: str) -> bool:
    """Whether a file of this name is one that is being written, or was when its writer crashed."""
    return name.startswith(_STAGED)


def remove_stale(folder: Path) -> None:
    """Remove what crashed writers left in a folder."""
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
def _scratch(folder: Path) -> Iterator[tuple[int, Path]]:
    """A new file of our own beside its later place; removed at the end if it is still there."""
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
