"""File of keys: read by servers, changed by `ssvd keys`, one writer at a time."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import filelock
from pydantic import ValidationError

from adapters_store.audit import Actor, AuditLog
from adapters_store.disk import make_folder, read_file, write_file
from server.keys.book import KeyBook, KeysError
from ssvd_asr.errors import StoreError

KEYS_VARIABLE = "SSVD_KEYS"
MAX_BYTES = 16 * 2**20
LOCK_TIMEOUT_S = 10
MODE = 0o600  # hashes tell no key, but which keys and private domains there are is nobody else's business

State = tuple[int, int, int]  # of the file: its time of change (ns), inode and size
Change = Callable[[KeyBook], KeyBook]


def default_keys_path() -> Path:
    """Return a file in the user's data folder by platformdirs."""
    import platformdirs

    return Path(platformdirs.user_data_dir("ssvd-asr", appauthor=False)) / "keys.json"


class KeyFile:
    """The file at one path. It need not exist: then there are no keys and no private domains."""

    def __init__(self, path: Path | str | None = None) -> None:
        """`path`: default `default_keys_path()`."""
        self.path = Path(default_keys_path() if path is None else path).absolute()

    def state(self) -> State | None:
        """Return what changes with the file; None if there is none. Raises KeysError."""
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            self._target()  # raises for a link to nothing
            return None
        except OSError as error:
            raise self._unreadable(error) from error
        return found.st_mtime_ns, found.st_ino, found.st_size

    def read(self) -> KeyBook:
        """Return the book, an empty one if there is no file. Raises as `find` does."""
        return self.find() or KeyBook()

    def find(self) -> KeyBook | None:
        """Return the book, None if there is no file. Raises KeysError if it cannot be read or is damaged."""
        try:
            return KeyBook.model_validate_json(read_file(self._target(), MAX_BYTES))
        except FileNotFoundError:
            return None
        except (OSError, StoreError) as error:
            raise self._unreadable(error) from error
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise self._unreadable(f"{where}: {first['msg']}" if where else first["msg"]) from error

    def change(self, change: Change, audit: AuditLog, by: Actor, what: str, **concerns: str) -> KeyBook:
        """Change the book, and return it. Readers see the old file or the new one.

        The change is written to the audit log right before it is visible, when it is on the disk already.

        Raises:
            KeysError: as `change` does, or the file cannot be read or written.
            StoreError: the audit log cannot be written; nothing is changed then.
        """
        try:
            target = self._target()
            make_folder(target.parent)
            with filelock.FileLock(f"{target}.lock", timeout=LOCK_TIMEOUT_S):
                changed = change(self.read())
                data = changed.model_dump_json(indent=1).encode() + b"\n"
                write_file(target, data, MODE, announce=lambda: audit.add(what, by, **concerns))
                return changed
        except filelock.Timeout as error:
            raise KeysError(
                f"{self.path} has been locked by another process for {LOCK_TIMEOUT_S} s"
            ) from error
        except OSError as error:
            raise KeysError(f"keys {self.path} ({KEYS_VARIABLE}) cannot be written: {error}") from error

    def _target(self) -> Path:
        """Return the file that is meant where the path is a link. Raises KeysError for a link to nothing."""
        target = Path(os.path.realpath(self.path))
        if self.path.is_symlink() and not target.exists():
            raise self._unreadable(f"it is a link to {target}, which is not there")
        return target

    def _unreadable(self, why: object) -> KeysError:
        return KeysError(f"keys {self.path} ({KEYS_VARIABLE}) cannot be read: {why}")
