"""Content of a file: the bytes that belong to its format, without what may lie behind them.

Formats of chunks, packets or frames are walked piece by piece from their start.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from ssvd_asr.audio.file_bytes import READ_BYTES, read_at, size_of
from ssvd_asr.audio.padding import ADVICE, check_single, is_padding, refuse_rest
from ssvd_asr.errors import AudioUnreadableError

MAX_PIECES = 1_000_000  # more take seconds, and no file within the limit on bytes needs as many


@dataclass(frozen=True)
class Content:
    """Where the content of a file ends.

    Attributes:
        end: the position after it.
        mended: what decoders insist on in its headers: a position, how many bytes there are replaced, and by
            which.
    """

    end: int
    mended: tuple[tuple[int, int, bytes], ...] = ()


def walk(
    file: BinaryIO, name: str, start: int, after: Callable[[BinaryIO, int], int | None], piece: str
) -> Content:
    """Walk the pieces of a file from a position to its end, or to the padding behind them.

    Args:
        after: returns the end of the piece at a position, or None where none starts.
        piece: what a piece is called, as "an AC-3 frame".

    Raises:
        AudioUnreadableError: the file ends within a piece, or something else than padding lies behind one.
    """
    end, position = size_of(file), start
    for _ in range(MAX_PIECES):
        if position >= end:
            return Content(end)
        following = after(file, position)
        if following is not None and position < following <= end:
            position = following
        elif is_padding(file, position):
            return Content(position)
        elif following is not None and following > end:
            check_single(file, name)
            raise AudioUnreadableError(
                f"{name}: is cut off, or followed by another file: it ends within {piece}: {ADVICE}"
            )
        else:
            refuse_rest(file, name, position)
    raise too_many(name)


@contextmanager
def as_decoded(file: BinaryIO, content: Content) -> Iterator[BinaryIO]:
    """Yield the file as decoders are given it: its content alone, mended."""
    if content.end == size_of(file) and not content.mended:
        yield file
        return
    with tempfile.TemporaryFile() as copy:
        start = 0
        for stop, replaced, by in (*content.mended, (content.end, 0, b"")):
            for position in range(start, stop, READ_BYTES):
                copy.write(read_at(file, position, min(READ_BYTES, stop - position)))
            copy.write(by)
            start = stop + replaced
        copy.seek(0)  # which writes what is buffered too
        yield copy


def too_many(name: str) -> AudioUnreadableError:
    """Return the error of a file with more than MAX_PIECES pieces."""
    return AudioUnreadableError(f"{name}: has more than {MAX_PIECES} chunks, packets or frames")
