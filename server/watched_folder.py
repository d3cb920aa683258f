"""Watched folder: adapter files that are put there as NAME.safetensors are published as NAME (SSVD_WATCH).

A file is taken once its size and times have stayed the same between two looks. A refused file is logged once
and left; it is tried again when it changes, its owner and mode too. What hinders the server itself, such as a
full disk, is logged once and tried again with every look. A file whose bytes are a version of the domain
already is passed over, so that a restart does not undo a rollback.
"""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

from adapters_store.audit import Actor
from adapters_store.disk import files_in, hash_of
from adapters_store.intent import option
from adapters_store.names import is_name
from server.engine.engine import Engine
from server.errors import DeadlineError, DrainingError, OutOfMemoryError
from server.publishing import Intent, publish
from ssvd_asr.errors import SsvdError, StoreUnreachableError, StoreUnwritableError, UnknownDomainError

SUFFIX = ".safetensors"
FOLDER = ""  # stands for the folder among names of files
LOOK_S = 1.0
CLOSE_S = 10.0
_PASSING = (
    DrainingError, DeadlineError, OutOfMemoryError, StoreUnreachableError, StoreUnwritableError,
)  # fmt: skip

State = tuple[
    int, int, int, int
]  # of a file: inode, times of its content and of its status in ns, size in bytes

logger = logging.getLogger(__name__)


class WatchedFolder:
    """The folder, looked at by a thread of its own from `start` to `close`."""

    def __init__(self, folder: Path, engine: Engine, look_s: float = LOOK_S) -> None:
        self._folder = folder.absolute()
        self._engine = engine
        self._look_s = look_s
        self._seen: dict[str, State] = {}  # at the last look
        self._done: dict[str, State] = {}  # published, passed over or refused
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ssvd-watch", daemon=True)
        self._told: dict[str, str] = {}  # by file, or FOLDER: what was last logged as passing

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def close(self) -> None:
        """End the thread, after the file that it is checking."""
        self._stop.set()
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        while not self._stop.wait(self._look_s):
            try:
                self.look()
            except (SsvdError, OSError) as error:
                self._tell(FOLDER, f"{self._folder} (SSVD_WATCH) cannot be looked at: {error}")
            except Exception:  # the thread goes on: the folder may be right at the next look
                logger.exception("%s (SSVD_WATCH) could not be looked at", self._folder)

    def look(self) -> None:
        """Look once: publish files that are whole."""
        found = self._states()
        for file in sorted(found):
            state = found[file]
            if self._done.get(file) != state and self._seen.get(file) == state and self._take(file):
                self._done[file] = state
        self._seen = found
        self._done = {file: state for file, state in self._done.items() if file in found}
        self._told = {file: why for file, why in self._told.items() if file in found or file == FOLDER}

    def _states(self) -> dict[str, State]:
        # The folder itself may be a link, as a mounted one often is; files in it may not.
        folder = Path(os.path.realpath(self._folder))
        if not folder.is_dir():
            self._tell(FOLDER, f"there is no folder {self._folder} (SSVD_WATCH); it is waited for")
            return {}
        states = {}
        for file, path in files_in(folder).items():
            if file.endswith(SUFFIX) and not file.startswith("."):
                try:
                    status = os.lstat(path)
                except FileNotFoundError:  # taken away meanwhile
                    continue
                states[file] = status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size
        self._told.pop(FOLDER, None)
        return states

    def _tell(self, about: str, why: str) -> None:
        """Log what hinders, once until it is another hindrance or has gone."""
        if self._told.get(about) != why:
            logger.warning("%s", why)
        self._told[about] = why

    def _take(self, file: str) -> bool:
        """Publish a file. Return whether that is settled, else it is tried again."""
        path, name = self._folder / file, file.removesuffix(SUFFIX)
        try:
            if not is_name(name):
                logger.error("%s is not published: %r is no name of a domain", path, name)
                return True
            if self._is_known(name, path):
                return True
            version = publish(
                self._engine, name, path, Intent(own_name=name), say=option,
                by=Actor("watched folder", str(self._folder)),
            )  # fmt: skip
        except _PASSING as error:
            self._tell(file, f"{path} is not published yet: {error}")
            return False
        except (SsvdError, OSError) as error:
            logger.error("%s is not published: %s", path, error)
        else:
            logger.info("%s is published as %s sha256:%s", path, version.reference, version.sha256)
        return True

    def _is_known(self, name: str, path: Path) -> bool:
        sha256 = hash_of(path)
        try:
            return any(each.sha256 == sha256 for each in self._engine.domains.store.versions(name))
        except UnknownDomainError:
            return False
