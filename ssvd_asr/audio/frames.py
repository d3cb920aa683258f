"""Frames of AC-3, E-AC-3, LOAS, WavPack and TTA files and packs of MPEG-PS: unbroken to the end of the file.

Where a frame is damaged, bytes are missing, or another file follows, FFmpeg looks for the next frame or
stops, and what it returns is shorter.
"""

from __future__ import annotations

import math
import struct
import zlib
from typing import BinaryIO

from ssvd_asr.audio.content import Content, walk
from ssvd_asr.audio.file_bytes import read_at, size_of
from ssvd_asr.audio.padding import is_padding, refuse_cut, refuse_rest
from ssvd_asr.errors import AudioUnreadableError

AC3_SYNC = b"\x0b\x77"
LOAS_SYNC = 0x2B7  # in the first 11 bits
PACK_START = b"\0\0\1\xba"

_AC3_KBITS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)
_AC3_RATES_HZ = (48_000, 44_100, 32_000)
_AC3_SAMPLES = 1_536
_AC3_NEWEST, _EAC3_NEWEST = 10, 16  # versions of the bit stream
_TTA_HEADER = struct.Struct("<4x3H3I")  # format, channels, bits, rate in Hz, frames of samples, CRC
_PACK_END = 0xB9


def ac3_content(file: BinaryIO, name: str) -> Content:
    """Return the content of an AC-3 or E-AC-3 file."""
    return walk(file, name, 0, _after_ac3, "an AC-3 frame")


def loas_content(file: BinaryIO, name: str) -> Content:
    """Return the content of an AAC file in LOAS packets."""

    def after(file: BinaryIO, position: int) -> int | None:
        head = int.from_bytes(read_at(file, position, 3), "big")
        return position + 3 + (head & 0x1FFF) if head >> 13 == LOAS_SYNC else None

    return walk(file, name, 0, after, "a LOAS packet")


def wavpack_content(file: BinaryIO, name: str) -> Content:
    """Return the content of a WavPack file."""

    def after(file: BinaryIO, position: int) -> int | None:
        kind, size = struct.unpack("<4sI", read_at(file, position, 8).ljust(8, b"\0"))
        return position + 8 + int(size) if kind == b"wvpk" else None

    return walk(file, name, 0, after, "a WavPack block")


def program_stream_content(file: BinaryIO, name: str) -> Content:
    """Return the content of an MPEG-PS file."""

    def after(file: BinaryIO, position: int) -> int | None:
        head = read_at(file, position, 14).ljust(14, b"\0")
        if not head.startswith(PACK_START[:3]) or head[3] < _PACK_END:
            return None
        if head[3] == _PACK_END:
            return position + 4
        if head[3] == PACK_START[3]:
            return position + (14 + (head[13] & 7) if head[4] >> 6 == 1 else 12)  # of MPEG 2, or MPEG 1
        return position + 6 + int.from_bytes(head[4:6], "big")

    return walk(file, name, 0, after, "an MPEG-PS packet")


def tta_content(file: BinaryIO, name: str, start: int = 0) -> Content:
    """Return the content of a TTA file, whose header, here at `start`, lists the sizes of its frames.

    FFmpeg checks the checksums of the frames.

    Raises:
        AudioUnreadableError: the list is damaged, a frame is missing, or something follows the frames.
    """
    header = read_at(file, start, _TTA_HEADER.size)
    if len(header) < _TTA_HEADER.size:
        return Content(size_of(file))
    _, _, _, rate_hz, samples, _ = _TTA_HEADER.unpack(header)
    frames = math.ceil(samples / max(1, 256 * rate_hz // 245))
    size, start = 4 * frames, start + _TTA_HEADER.size
    refuse_cut(name, size_of(file) - start, size + 4)
    table = read_at(file, start, size + 4)
    if zlib.crc32(table[:size]) != int.from_bytes(table[size:], "little"):
        raise AudioUnreadableError(f"{name}: is damaged: the checksum of its list of frames is wrong")
    end = start + len(table) + sum(struct.unpack(f"<{frames}I", table[:size]))
    refuse_cut(name, size_of(file), end)
    if not is_padding(file, end):
        refuse_rest(file, name, end)
    return Content(end)


def _after_ac3(file: BinaryIO, position: int) -> int | None:
    head = read_at(file, position, 6).ljust(6, b"\0")
    if not head.startswith(AC3_SYNC):
        return None
    version, rate, code = head[5] >> 3, head[4] >> 6, head[4] & 0x3F
    if version > _AC3_NEWEST:
        return position + 2 * ((head[2] & 7) * 256 + head[3] + 1) if version <= _EAC3_NEWEST else None
    if rate >= len(_AC3_RATES_HZ) or code // 2 >= len(_AC3_KBITS):
        return None
    rate_hz = _AC3_RATES_HZ[rate]
    words = 1000 * _AC3_KBITS[code // 2] * _AC3_SAMPLES // (16 * rate_hz)
    return position + 2 * (words + (code & 1 if rate_hz == 44_100 else 0))
