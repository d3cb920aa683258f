"""End of a FLAC file: its last frame, found from behind by its checksum.

libFLAC stops after the samples that the header states, and has by then read some of what follows.
"""

from __future__ import annotations

import re
from typing import BinaryIO

from ssvd_asr.audio.content import Content
from ssvd_asr.audio.file_bytes import read_at, size_of
from ssvd_asr.audio.padding import end_without_tags, end_without_zeros
from ssvd_asr.errors import AudioUnreadableError

MAGIC = b"fLaC"

_SYNC = re.compile(b"\xff[\xf8\xf9]")  # which may also occur within a frame
_MAX_CANDIDATES = 32  # bounds the time for a file made to have many; within a frame it occurs by chance
_CHECKSUM_BYTES = 2  # at the end of a frame; they may be zeros, as those behind the file
_HEADER_BYTES = 42
_SAMPLES, _SAMPLES_MASK = slice(21, 26), 2**36 - 1  # fields of the header, in bytes; 0 if not known
_LARGEST_FRAME = slice(15, 18)
_LARGEST_FRAME_BYTES = 2**18  # where it was not known


def _crc_16(byte: int) -> int:
    crc = byte << 8
    for _ in range(8):
        crc = crc << 1 ^ (0x8005 if crc & 0x8000 else 0)
    return crc & 0xFFFF


_CRC_16 = tuple(map(_crc_16, range(256)))


def flac_content(file: BinaryIO, start: int) -> Content:
    """Return the content of a FLAC file that starts there: all but the tags and zeros behind it."""
    end = end_without_tags(file)
    header_end = min(end, start + _HEADER_BYTES)
    return Content(max(header_end, end_without_zeros(file, end, _CHECKSUM_BYTES)))


def states_length(file: BinaryIO) -> bool:
    """Return whether the header of a FLAC file, if it stands at its start, states a number of samples."""
    header = read_at(file, 0, _SAMPLES.stop)
    return not header.startswith(MAGIC) or int.from_bytes(header[_SAMPLES], "big") & _SAMPLES_MASK != 0


def check_last_frame(file: BinaryIO, name: str) -> None:
    """Check that the content of a FLAC file ends with a frame.

    Raises:
        AudioUnreadableError: something else follows its last frame.
    """
    end = size_of(file)
    header = read_at(file, 0, _LARGEST_FRAME.stop)
    largest = int.from_bytes(header[_LARGEST_FRAME], "big") if header.startswith(MAGIC) else 0
    first = max(0, end - (largest or _LARGEST_FRAME_BYTES) - _CHECKSUM_BYTES)
    data = read_at(file, first, end - first)
    syncs = [sync.start() for sync in _SYNC.finditer(data)][-_MAX_CANDIDATES:]
    if not any(_is_whole(data[sync:]) for sync in reversed(syncs)):
        raise AudioUnreadableError(
            f"{name}: is damaged, or several files joined to one: something else follows its last FLAC frame"
        )


def _is_whole(frame: bytes) -> bool:
    """Return whether a frame ends with its checksum. Zeros behind it do not change that."""
    crc = 0
    for byte in frame:
        crc = (crc << 8 & 0xFFFF) ^ _CRC_16[crc >> 8 ^ byte]
    return crc == 0
