"""Bytes of an opened file, read without moving the position that its decoder uses too."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from typing import BinaryIO

READ_BYTES = 2**20


def size_of(file: BinaryIO) -> int:
    """Return the number of bytes of a file on the disk or in memory."""
    if not isinstance(file, io.BytesIO):
        return os.fstat(file.fileno()).st_size
    before = file.tell()  # not getbuffer(), which would copy what the caller's bytes share
    size = file.seek(0, os.SEEK_END)
    file.seek(before)
    return size


def read_at(file: BinaryIO, position: int, size: int) -> bytes:
    """Return at most `size` bytes from `position` on; fewer at the end of the file."""
    if not isinstance(file, io.BytesIO):
        return os.pread(file.fileno(), size, position)
    before = file.tell()
    file.seek(position)
    data = file.read(size)
    file.seek(before)
    return data


def position_of(file: BinaryIO) -> int:
    """Return the position up to which a decoder has read a file."""
    if not isinstance(file, io.BytesIO):
        return os.lseek(file.fileno(), 0, os.SEEK_CUR)  # the decoder has the descriptor, not the file
    return file.tell()


def only_zeros(file: BinaryIO, start: int, stop: int) -> bool:
    """Return whether the bytes from start to stop are all 0, as padding is."""
    return not any(any(each) for each in _blocks(file, start, stop))


def _blocks(file: BinaryIO, start: int, stop: int) -> Iterator[bytes]:
    for position in range(start, stop, READ_BYTES):
        yield read_at(file, position, min(READ_BYTES, stop - position))
