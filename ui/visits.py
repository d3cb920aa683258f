"""Files of the page's visitors: a folder of this process, and what each visit keeps in it.

gradio writes every upload and recording into the folder that GRADIO_TEMP_DIR names, under the name that the
visitor's file has, and leaves it there. Here a file is deleted when its visitor chooses another recording or
leaves, and the folder when the process ends. The next start deletes folders of processes that were killed.
A visit is present while its page holds a connection open: gradio's heartbeat. What a visit uses that is not
present, such as that of a script that never opened one, lies no longer than an upload that broke off.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import threading
import time
import weakref
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

VARIABLE = "GRADIO_TEMP_DIR"
PREFIX = "ssvd-ui-"
LOCK = "lock"  # held while the folder's process lives
UNCLAIMED_S = 120.0  # how long a file may lie that no present visit claims: a page claims at once
SWEEP_S = 15.0


class Visits:
    """Which visit uses which file of `folder`. Thread-safe."""

    def __init__(self) -> None:
        _delete_abandoned(Path(tempfile.gettempdir()))
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX)).resolve()  # only its owner may read it
        self.own = self.folder / "clips"  # the page's own files, which are nobody's
        self.own.mkdir()
        lock = (self.folder / LOCK).open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
        self._claims: dict[str, Path] = {}  # by visit: its recording
        self._present: Counter[str] = Counter()  # by visit: its open connections
        self._lock = threading.Lock()
        ended = threading.Event()
        threading.Thread(target=_sweep_often, args=(weakref.ref(self), ended), daemon=True).start()
        self._finalizer = weakref.finalize(self, _end, self.folder, lock, ended)  # at the exit at the latest

    def take_gradio(self) -> None:
        """Have gradio write into the folder, as long as it is there.

        gradio builds a component anew wherever a handler changes or skips it, and reads the variable then.
        """
        os.environ[VARIABLE] = str(self.folder)

    @contextmanager
    def present(self, visit: str) -> Iterator[None]:
        """Have the visit keep what it claims, within the block and no longer."""
        with self._lock:
            self._present[visit] += 1
        try:
            yield
        finally:
            with self._lock:
                self._present[visit] -= 1
                self._present += Counter()  # drops what is zero

    def claim(self, visit: str, recording: str | None) -> None:
        """Note the recording that a visit uses now; None is none. The one that it used before is deleted."""
        with self._lock:
            before = self._claims.pop(visit, None)
            now = None if recording is None else Path(recording).resolve()
            if now is not None and self._is_a_visitors(now):
                self._claims[visit] = now
            if before is not None and before not in self._claims.values():
                self._delete(before)

    def claims(self, visit: str, recording: str) -> bool:
        """Return whether this is the recording that a visit uses."""
        with self._lock:
            return self._claims.get(visit) == Path(recording).resolve()

    def leave(self, visit: str) -> None:
        """Delete what a visit used, unless another uses the same file."""
        self.claim(visit, None)

    def sweep(self, unclaimed_s: float) -> None:
        """Delete files that are older than this and that no present visit uses, as uploads that broke off."""
        with self._lock:
            claimed = {file for visit, file in self._claims.items() if visit in self._present}
            for file in self.folder.rglob("*"):
                if file in claimed or not self._is_a_visitors(file):
                    continue
                try:
                    if file.is_file() and time.time() - file.stat().st_ctime > unclaimed_s:
                        self._delete(file)
                except FileNotFoundError:
                    continue  # deleted meanwhile

    def close(self) -> None:
        """Delete the folder."""
        self._finalizer()

    def _is_a_visitors(self, file: Path) -> bool:
        return (
            file.is_relative_to(self.folder)
            and not file.is_relative_to(self.own)
            and file not in (self.folder, self.folder / LOCK)
        )

    def _delete(self, file: Path) -> None:
        """Delete a file, and the folder that gradio made for it alone."""
        file.unlink(missing_ok=True)
        if file.parent != self.folder:
            with suppress(OSError):  # it holds another file, or is gone
                file.parent.rmdir()


def _sweep_often(visits: weakref.ref[Visits], ended: threading.Event) -> None:
    while not ended.wait(SWEEP_S):
        alive = visits()
        if alive is None:
            return
        alive.sweep(UNCLAIMED_S)
        del alive


def _end(folder: Path, lock: TextIO, ended: threading.Event) -> None:
    ended.set()
    if os.environ.get(VARIABLE) == str(folder):
        del os.environ[VARIABLE]
    shutil.rmtree(folder, ignore_errors=True)
    lock.close()


def _delete_abandoned(parent: Path) -> None:
    """Delete folders whose process was killed: nobody holds their lock."""
    for folder in parent.glob(f"{PREFIX}*"):
        try:
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            with (folder / LOCK).open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue  # in use, being made, or not ours
