"""Cache of adapter files on this machine, by digest, for a store that is elsewhere."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from adapters_store.disk import files_in, hash_of, make_folder, remove_stale, scratch_file
from ssvd_asr.errors import AdapterError

_SUFFIX = ".safetensors"
_IN_USE_S = 60.0  # a file that was asked for so lately may be about to be read


class FileCache:
    """The cache in one folder, which any number of processes share.

    Beyond `max_bytes` the files go that were asked for longest ago.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder = folder.absolute()
        self.max_bytes = max_bytes
        self._lock = threading.Lock()

    def path(self, sha256: str) -> Path:
        """Return where the file of this digest is, if it is here."""
        return self.folder / f"{sha256}{_SUFFIX}"

    def fetch(self, sha256: str, size_bytes: int, download: Callable[[Path], None]) -> None:
        """Have a file here: `download` writes it to a path, unless it is here already.

        Raises:
            AdapterError: what was downloaded has another digest.
            OSError: the folder cannot be written. Also what `download` raises.
        """
        if self._has(sha256, size_bytes):  # without waiting for a download of another file
            return
        path = self.path(sha256)
        with self._lock:  # one download at a time, and each once
            if self._has(sha256, size_bytes):
                return
            make_folder(self.folder)
            with scratch_file(self.folder) as (_, scratch):
                download(scratch)
                found = hash_of(scratch)
                if found != sha256:
                    raise AdapterError(f"sha256 {found} came for {sha256}")
                os.replace(scratch, path)
            self._make_room(path)

    def add(self, sha256: str, file: Path) -> None:
        """Add a file that is in the folder under another name. Its digest must be this one."""
        with self._lock:
            with contextlib.suppress(FileExistsError):
                os.link(file, self.path(sha256))
            self._make_room(self.path(sha256))

    def _has(self, sha256: str, size_bytes: int) -> bool:
        """Return whether a file is here, and note that it was asked for."""
        path = self.path(sha256)
        try:
            if path.stat().st_size != size_bytes:
                return False
            os.utime(path)
        except FileNotFoundError:
            return False
        return True

    def _make_room(self, added: Path) -> None:
        """Remove files, but not the added one: in the clock's steps another may be as new as it."""
        remove_stale(self.folder)
        found = []
        for name, path in files_in(self.folder).items():
            with contextlib.suppress(FileNotFoundError):  # another process was faster
                if name.endswith(_SUFFIX):
                    status = path.stat()
                    found.append((status.st_mtime, status.st_size, path))
        size = sum(each[1] for each in found)
        for asked_s, nbytes, path in sorted(found):
            if size <= self.max_bytes or time.time() - asked_s < _IN_USE_S:
                return
            if path != added:
                path.unlink(missing_ok=True)
                size -= nbytes
