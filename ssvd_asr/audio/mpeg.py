"""Frames of MPEG audio (MP3, MP2, MP1) and packets of MPEG-TS: an unbroken chain to the end of the file.

Where a frame is damaged or bytes are missing, FFmpeg looks for the next frame, and what it returns is
shorter.
"""

from __future__ import annotations

import re
import struct
from typing import BinaryIO, NamedTuple

from ssvd_asr.audio.content import Content, walk
from ssvd_asr.audio.file_bytes import READ_BYTES, only_zeros, read_at, size_of
from ssvd_asr.audio.padding import ADVICE, broken_end
from ssvd_asr.audio.tolerance import TOLERANCE_S
from ssvd_asr.errors import AudioUnreadableError

SYNC = re.compile(rb"\xff[\xe2-\xff]")
_SEARCH_BYTES = 2**16  # within which a file's first frame starts
_MAX_FRAMES = 2_000_000  # 14 h of MP3
_TAG = re.compile(rb"TAG|LYRICSBEGIN")
_LYRICS_END = re.compile(rb"LYRICSEND|LYRICS200")
_ID3V1_BYTES = 128

_NEWER = 3  # MPEG 1 in the header's bits; 2 is MPEG 2, and 0 MPEG 2.5
_RATES_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_KBITS = {  # a second, by whether the version is MPEG 1 and by layer; the first index is "any", of 14
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_XING = (b"Xing", b"Info")
_XING_FRAMES, _XING_BYTES = 1, 2  # flags of the two counts
_SIDE_BYTES = {(True, False): 32, (True, True): 17, (False, False): 17, (False, True): 9}  # MPEG 1, mono
_MONO = 3
_ANY_RATE, _NO_RATE = 0, 15  # indices

_TS_SYNC = 0x47
_TS_PACKETS = ((188, 0), (192, 4), (204, 0))  # bytes, and which of them is the sync byte
_TS_CHECKED = 4  # packets whose sync byte tells their size


class _Frame(NamedTuple):
    size: int
    bytes_per_s: float


class Xing(NamedTuple):
    """Counts in a first frame that holds no audio, each None if it is not stated."""

    frames: int | None  # that follow
    size: int | None  # bytes from this frame to the end of the last


def check_frames(file: BinaryIO, name: str) -> tuple[str, ...]:
    """Check the frames of an MPEG audio file whose ID3v2 and APE tags were removed.

    What lies before the first frame is no audio, as are a tag or some zeros behind a frame.  The sizes of
    frames of a free bit rate are not known; such a file passes.

    Returns:
        A sentence on the last frame, if it is broken and a count in the first one says that it is the last.

    Raises:
        AudioUnreadableError: the chain breaks, or the file ends within a frame that may not be the last.
    """
    end, padding_s = size_of(file), 0.0
    position = _next_frame(file, 0, _SEARCH_BYTES)
    last = None if position is None else _frame(file, position)
    counts = None if position is None else xing(file, position)
    stated = None if counts is None else counts.frames
    for number in range(_MAX_FRAMES):
        if position is None or last is None or position == end:
            return ()
        frame = _frame(file, position)
        if frame is not None:
            position, last = position + frame.size, frame
            if position <= end:
                continue
            if number == stated:  # and the first one, which has the count, is not counted
                return (broken_end(frame.size / frame.bytes_per_s),)
            raise AudioUnreadableError(
                f"{name}: is cut off: it ends within an MPEG frame, and nothing "
                f"says that it was the last one: {ADVICE}"
            )
        if _is_free(read_at(file, position, 4)) or only_zeros(file, position, end):
            return ()
        following = _after_padding(file, position, end)
        padding_s += (
            0 if _TAG.match(read_at(file, position, 11)) else (following - position) / last.bytes_per_s
        )
        if following == position or padding_s > TOLERANCE_S:
            raise AudioUnreadableError(
                f"{name}: is cut off or damaged: its byte {position} of {end} begins no MPEG frame"
            )
        position = following
    raise AudioUnreadableError(f"{name}: has more than {_MAX_FRAMES} MPEG frames")


def xing(file: BinaryIO, position: int) -> Xing | None:
    """Return the counts of Xing's header in the frame at a position; None where it has none.

    The header stands behind the frame's side information and nowhere else. The same letters at another place,
    or in a later frame, count nothing, and decoders do not look there.
    """
    header = read_at(file, position, 4)
    if _frame(file, position) is None:
        return None
    at = position + 4 + _SIDE_BYTES[header[1] >> 3 & 3 == _NEWER, header[3] >> 6 == _MONO]
    for place in (at, at + 2):  # behind a checksum
        found = read_at(file, place, 16)
        if found[:4] in _XING:
            flags, *counts = struct.unpack(">3I", found[4:].ljust(12, b"\0"))
            frames = counts.pop(0) if flags & _XING_FRAMES else None
            return Xing(frames, counts.pop(0) if flags & _XING_BYTES else None)
    return None


def uncounted_s(file: BinaryIO, position: int, count: int) -> float:
    """Return the seconds of the frames that follow the one at a position and as many more as are counted.

    The chain is followed as far as it is unbroken.
    """
    seconds = 0.0
    for number in range(_MAX_FRAMES):
        frame = _frame(file, position)
        if frame is None:
            break
        if number > count:
            seconds += frame.size / frame.bytes_per_s
        position += frame.size
    return seconds


def transport_stream_content(file: BinaryIO, name: str) -> Content | None:
    """Return the content of an MPEG-TS file; None for another file.

    Raises:
        AudioUnreadableError: it ends within a packet, or its chain of packets breaks.
    """
    head = read_at(file, 0, _TS_CHECKED * max(size for size, _ in _TS_PACKETS))
    for size, sync in _TS_PACKETS:
        starts = head[sync : _TS_CHECKED * size : size]
        if starts == bytes([_TS_SYNC]) * _TS_CHECKED:
            break
    else:
        return None

    def after(file: BinaryIO, position: int) -> int | None:
        return position + size if read_at(file, position + sync, 1) == bytes([_TS_SYNC]) else None

    return walk(file, name, 0, after, "an MPEG-TS packet")


def _frame(file: BinaryIO, position: int) -> _Frame | None:
    """Return the frame at a position; None where none starts, or one of a free bit rate."""
    header = read_at(file, position, 4)
    if len(header) < 4 or not SYNC.match(header):
        return None
    version, layer, index, rate = (
        header[1] >> 3 & 3,
        4 - (header[1] >> 1 & 3),
        header[2] >> 4,
        header[2] >> 2 & 3,
    )
    if version == 1 or layer == 4 or index in (_ANY_RATE, _NO_RATE) or rate == 3:
        return None
    first = version == _NEWER
    bits_per_s = 1000 * _KBITS[first, layer][index - 1]
    samples = 384 if layer == 1 else 576 if layer == 3 and not first else 1152
    slot = 4 if layer == 1 else 1
    slots = samples * bits_per_s // (8 * slot * _RATES_HZ[version][rate]) + (header[2] >> 1 & 1)
    return _Frame(slots * slot, bits_per_s / 8)


def _is_free(header: bytes) -> bool:
    """Return whether a header states the free bit rate."""
    return bool(SYNC.match(header)) and len(header) == 4 and header[2] >> 4 == _ANY_RATE


def _next_frame(file: BinaryIO, start: int, within: int) -> int | None:
    """Return the first position at which three frames follow each other, or as many as the file has left."""
    end = size_of(file)
    for found in SYNC.finditer(read_at(file, start, within)):
        position = first = start + found.start()
        for _ in range(3):
            frame = _frame(file, position)
            if frame is None:
                break
            position += frame.size
            if position >= end:
                return first
        else:
            return first
    return None


def _after_padding(file: BinaryIO, position: int, end: int) -> int:
    """Return where the tag, zeros or last bytes at a position end; the position if other bytes follow."""
    data = read_at(file, position, READ_BYTES)
    if data.startswith(b"TAG"):
        return min(end, position + _ID3V1_BYTES)
    if data.startswith(b"LYRICSBEGIN") and (lyrics := _LYRICS_END.search(data)):
        return position + lyrics.end()
    zeros = len(data) - len(data.lstrip(b"\0"))
    if zeros:
        return position + zeros
    return end if _next_frame(file, position, READ_BYTES) is None else position
