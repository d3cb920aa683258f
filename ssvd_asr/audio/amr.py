"""Frames of AMR files, as telephones record: an unbroken chain to the end of the file.

FFmpeg decodes whatever bytes lie where a frame should start.
"""

from __future__ import annotations

from typing import BinaryIO

from ssvd_asr.audio.file_bytes import read_at, size_of
from ssvd_asr.audio.padding import ADVICE
from ssvd_asr.audio.tolerance import TOLERANCE_S
from ssvd_asr.errors import AudioUnreadableError

FRAME_S = 0.02
# By the file's first bytes: the bytes of a frame of each kind, its header among them.
_SIZES = {
    b"#!AMR\n": {0: 13, 1: 14, 2: 16, 3: 18, 4: 20, 5: 21, 6: 27, 7: 32, 8: 6, 9: 7, 10: 6, 11: 6, 15: 1},
    b"#!AMR-WB\n": {0: 18, 1: 24, 2: 33, 3: 37, 4: 41, 5: 47, 6: 51, 7: 59, 8: 61, 9: 6, 14: 1, 15: 1},
}
_ALWAYS_0 = 0x83  # bits of a frame's header
_GOOD = 0x04


def check_frames(file: BinaryIO, name: str) -> None:
    """Check the frames of an AMR file of one channel.

    Raises:
        AudioUnreadableError: the chain breaks, the file ends within a frame, or more than TOLERANCE_S of its
            frames say that they were damaged on their way.
    """
    data = read_at(file, 0, size_of(file))
    start = next((start for start in _SIZES if data.startswith(start)), None)
    if start is None:
        return
    sizes, position, bad_s = _SIZES[start], len(start), 0.0
    while position < len(data):
        header = data[position]
        kind = header >> 3 & 15
        if header & _ALWAYS_0 or kind not in sizes:
            raise AudioUnreadableError(
                f"{name}: is cut off or damaged: its byte {position} of {len(data)} begins no AMR frame"
            )
        bad_s += 0 if header & _GOOD else FRAME_S
        position += sizes[kind]
    if position > len(data):
        raise AudioUnreadableError(f"{name}: is cut off: it ends within an AMR frame: {ADVICE}")
    if bad_s > TOLERANCE_S:
        raise AudioUnreadableError(f"{name}: {bad_s:.2f} s of its AMR frames are marked as damaged")
