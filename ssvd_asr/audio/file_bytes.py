"""Bytes of an opened file, read without moving the position that its decoder uses too."""

from __future__ import annotations

import io
import os
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


def after_zeros(file: BinaryIO, start: int) -> int:
    """Return the position of the first byte from start on that is not 0, or the file's end."""
    position = start
    while block := read_at(file, position, READ_BYTES):
        zeros = len(block) - len(block.lstrip(b"\0"))
        position += zeros
        if zeros < len(block):
            break
    return position


def only_zeros(file: BinaryIO, start: int, stop: int) -> bool:
    """Return whether the bytes from start to stop are all 0, as padding is."""
    return after_zeros(file, start) >= stop
