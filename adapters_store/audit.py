"""Append-only log of every change to domains and keys: who made it, what it is, which file, and from where.

One JSON object a line: at (ISO 8601, UTC), who, where, what, and what the change concerns, such as domain,
version and sha256. Lines are only added, each by one write that is synced before the change becomes visible.
"""

from __future__ import annotations

import errno
import getpass
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ssvd_asr.errors import unwritable

AUDIT_VARIABLE = "SSVD_AUDIT_LOG"

_APPEND = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


@dataclass(frozen=True)
class Actor:
    """Who makes a change. `where` is a network address, or "command line"."""

    who: str
    where: str


def local_user() -> Actor:
    """Return who runs this process."""
    try:
        who = getpass.getuser()
    except (KeyError, OSError):  # a container's user that has no name
        who = str(os.getuid())
    return Actor(who, "command line")


def default_audit_path() -> Path:
    """Return SSVD_AUDIT_LOG if it is set, else a file in the user's data folder by platformdirs."""
    if chosen := os.environ.get(AUDIT_VARIABLE):
        return Path(chosen)
    import platformdirs

    return Path(platformdirs.user_data_dir("ssvd-asr", appauthor=False)) / "audit.jsonl"


class AuditLog:
    """The log at one path. Any number of processes may add to it."""

    def __init__(self, path: Path | str | None = None) -> None:
        self.path = Path(default_audit_path() if path is None else path).absolute()

    def add(self, what: str, by: Actor, **concerns: str | int | bool | None) -> None:
        """Add a line, durably.

        Args:
            what: the kind of change, as "domain.publish" or "key.add".
            concerns: further members of the object.

        Raises:
            StoreUnwritableError: the line cannot be written; the caller then makes no change.
        """
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"at": at, "who": by.who, "where": by.where, "what": what, **concerns})
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, _APPEND, 0o640)
            try:
                # One write: lines of two processes do not mix. What a full disk tore off stays a line alone.
                data = (b"" if _ends_in_a_line(descriptor) else b"\n") + line.encode() + b"\n"
                if os.write(descriptor, data) != len(data):
                    raise OSError(errno.ENOSPC, "the line was written in part")
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise unwritable(f"audit log {self.path} ({AUDIT_VARIABLE})", error) from error


def _ends_in_a_line(descriptor: int) -> bool:
    size = os.fstat(descriptor).st_size
    return not size or os.pread(descriptor, 1, size - 1) == b"\n"
