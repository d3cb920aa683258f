"""Checks that an output can be written, before a model is loaded or hours go by, and errors that name it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ssvd_asr.errors import SsvdError


def check_output_folder(path: Path, option: str) -> None:
    """Raise SsvdError, naming the option, if this is no folder that can be written or made. Makes nothing."""
    nearest = next(place for place in (path, *path.absolute().parents) if os.path.lexists(place))
    if not nearest.is_dir():
        what = "is a file" if nearest == path else f"lies below {nearest}, which is a file"
        raise SsvdError(f"{option} {path}: a folder is wanted, and it {what}")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise SsvdError(f"{option} {path}: {nearest} cannot be written to ({_why_not(nearest)})")


def check_output_file(path: Path, option: str, *, makes_folder: bool = False) -> None:
    """Raise SsvdError, naming the option, if no file can be written to this path. Writes nothing."""
    if path.is_dir():
        raise SsvdError(f"{option} {path}: a file is wanted, and it is a folder")
    if makes_folder and not path.parent.is_dir():
        check_output_folder(path.parent, option)
        return
    if not path.parent.is_dir():
        raise SsvdError(f"{option} {path}: there is no folder {path.parent}")
    target = path if path.exists() else path.parent
    if not os.access(target, os.W_OK):
        raise SsvdError(f"{option} {path}: {_why_not(target)}")


def _why_not(place: Path) -> str:
    """Return the system's reason why a place cannot be written to, which os.access() does not tell."""
    read_only = os.statvfs(place).f_flag & os.ST_RDONLY
    return os.strerror(errno.EROFS if read_only else errno.EACCES)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Raise an OSError of the block with this path, if it names none itself, as that of a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:  # or the message is all there is
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
