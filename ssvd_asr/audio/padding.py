"""What may lie behind the audio of a file without being audio: tags of players, and zeros.

Anything else there is a second file, or what damage left of the first one, and decoders pass over it.
"""

from __future__ import annotations

import re
import struct
from typing import BinaryIO, NoReturn

from ssvd_asr.audio.file_bytes import READ_BYTES, after_zeros, read_at, size_of
from ssvd_asr.errors import AudioUnreadableError

ADVICE = "send the whole file or, if the rest is lost, convert what is there to WAV or FLAC"
UNKNOWN_BYTES = 0x7F000000  # a size from here on means "not known yet", as in files written to a pipe

_MAX_TAGS = 10  # behind a file
_TAG_HEAD_BYTES = 32
_ID3V1_BYTES = 128
_APE_HAS_HEADER = 1 << 31
_APE_IS_HEADER = 1 << 29  # and not the same 32 bytes at the tag's end
_LYRICS_END = re.compile(rb"(\d{6})LYRICS200")
_LYRICS_END_BYTES = 15

_FILE_STARTS = tuple(
    re.compile(start)
    for start in (
        rb"\x00\x00\x00[\x08-\xff]ftyp",
        rb"RIFF[\x00-\xff]{4}WAVE",
        rb"caff\x00\x01\x00\x00desc",
        rb"\.snd\x00\x00[\x00-\xff]{2}",
        rb"FLV\x01[\x00-\x05]\x00\x00\x00\x09",
        rb"TTA1[\x01-\x03]\x00[\x00-\xff]\x00",
        rb"\.RMF\x00\x00\x00\x12",
        rb"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb",
        rb"FORM[\x00-\xff]{4}AIF[FC]",
    )
)
_FILE_START_BYTES = 12
_LONGEST_PATTERN_BYTES = 32


def is_padding(file: BinaryIO, position: int) -> bool:
    """Return whether the file from this position to its end holds nothing but tags and zeros."""
    for _ in range(_MAX_TAGS):
        position = after_zeros(file, position)
        head = read_at(file, position, _TAG_HEAD_BYTES).ljust(_TAG_HEAD_BYTES, b"\0")
        if head.startswith(b"ID3"):
            position += 10 + sum((digit & 0x7F) << 7 * place for place, digit in enumerate(head[9:5:-1]))
        elif head.startswith(b"APETAGEX"):
            size, _, flags = struct.unpack("<3I", head[12:24])
            position += _TAG_HEAD_BYTES + (size if flags & _APE_IS_HEADER else 0)
        elif head.startswith(b"TAG"):
            position += _ID3V1_BYTES
        else:
            break
    return after_zeros(file, position) >= size_of(file)


def end_without_tags(file: BinaryIO) -> int:
    """Return where the tags at the end of a file start, found from its end: ID3v1, Lyrics3 and APE."""
    end = size_of(file)
    for _ in range(_MAX_TAGS):
        footer = read_at(file, max(0, end - _TAG_HEAD_BYTES), min(end, _TAG_HEAD_BYTES))
        lyrics = _LYRICS_END.fullmatch(footer[-_LYRICS_END_BYTES:])
        if read_at(file, max(0, end - _ID3V1_BYTES), 3) == b"TAG":
            start = end - _ID3V1_BYTES
        elif footer.startswith(b"APETAGEX"):
            size, _, flags = struct.unpack("<3I", footer[12:24])
            start = end - size
            if flags & _APE_HAS_HEADER and read_at(file, max(0, start - _TAG_HEAD_BYTES), 8) == b"APETAGEX":
                start -= _TAG_HEAD_BYTES
        elif lyrics is not None:
            start = end - _LYRICS_END_BYTES - int(lyrics[1])
        else:
            break
        if not 0 < start < end:
            break
        end = start
    return end


def end_without_zeros(file: BinaryIO, end: int, kept: int) -> int:
    """Return the position up to `end` after which only zeros follow; at most `kept` of them lie before it."""
    position = end
    while position > 0:
        start = max(0, position - READ_BYTES)
        block = read_at(file, start, position - start).rstrip(b"\0")
        if block:
            return min(end, start + len(block) + kept)
        position = start
    return min(end, kept)


def check_single(file: BinaryIO, name: str) -> None:
    """Check that a file does not begin a second time, in a format of which only the first file is read.

    Raises:
        AudioUnreadableError: it does.
    """
    for start in _FILE_STARTS:
        if start.match(read_at(file, 0, _FILE_START_BYTES)) and occurs_again(start, file):
            raise AudioUnreadableError(
                f"{name}: several files joined to one, of which only the first can be read"
            )


def refuse_rest(file: BinaryIO, name: str, position: int) -> NoReturn:
    """Raise AudioUnreadableError on what lies at a position, neither part of the file nor padding."""
    check_single(file, name)
    raise AudioUnreadableError(
        f"{name}: is cut off, damaged, or followed by another file, of which nothing would be read: "
        f"its byte {position} of {size_of(file)} is no part of it"
    )


def refuse_cut(name: str, there: int, stated: int) -> None:
    """Raise AudioUnreadableError if fewer bytes are there than stated."""
    if there < stated:
        raise AudioUnreadableError(
            f"{name}: is cut off: it holds {there} of the {stated} bytes that its header states: {ADVICE}"
        )


def broken_end(missing_s: float) -> str:
    """Return a sentence on the end of a recording, of which so little is missing that the file is read."""
    return f"The end of the file is missing or damaged: {missing_s:.3f} s that its header states"


def occurs_again(start: re.Pattern[bytes], file: BinaryIO) -> bool:
    """Return whether a pattern of at most _LONGEST_PATTERN_BYTES occurs after the file's first byte."""
    return any(
        start.search(read_at(file, position, READ_BYTES + _LONGEST_PATTERN_BYTES))
        for position in range(1, size_of(file), READ_BYTES)
    )
