"""Chunks of WAV, AIFF and AVI files, of which every byte belongs to one.

Decoders skip what they do not know.  A second block of samples, another file behind the first, or a place
where bytes are missing or overwritten would cost audio without an error.
"""

from __future__ import annotations

import re
import struct
from typing import BinaryIO

from ssvd_asr.audio.content import MAX_PIECES, Content, too_many
from ssvd_asr.audio.file_bytes import read_at, size_of
from ssvd_asr.audio.padding import UNKNOWN_BYTES, check_single, is_padding, refuse_cut, refuse_rest
from ssvd_asr.errors import AudioUnreadableError

KIND = re.compile(rb"[\x20-\x7e\xa9]{4}")

_HEADER_BYTES = 12  # of a file or list
_CHUNK_BYTES = 8  # of the header of a chunk
_IN_DS64 = 0xFFFFFFFF  # the size of samples stands in the chunk ds64
_FILES = (b"RIFF", b"RF64", b"BW64", b"FORM")
_PLAIN_SAMPLES = (1, 3)  # codecs of WAV: integers, floats
_PADDED_BITS, _PADDED_BYTES = 24, 4  # the only samples that are stored in more bytes than they need


def wav_content(file: BinaryIO, name: str) -> Content:
    """Return the content of a WAV, RF64 or AIFF file. Samples of an unknown size last to its end.

    Raises:
        AudioUnreadableError: a second block of samples or another file follows the samples, an RF64 file
            is cut off, or a header of plain samples contradicts itself.
    """
    aiff = read_at(file, 0, 4) == b"FORM"
    header, samples = (">4sI", b"SSND") if aiff else ("<4sI", b"data")
    end, position, long_bytes, after_samples = size_of(file), _HEADER_BYTES, 0, False
    mended: list[tuple[int, int, bytes]] = []
    for _ in range(MAX_PIECES):
        if end - position < _CHUNK_BYTES:
            return Content(end, tuple(mended))
        kind, size = struct.unpack(header, read_at(file, position, _CHUNK_BYTES))
        known = KIND.fullmatch(kind) and position + _CHUNK_BYTES + size <= end
        if after_samples and (kind == samples or kind in _FILES or not known):
            if not is_padding(file, position):
                _refuse_after_samples(file, name, position)
            return Content(position, tuple(mended))
        if kind == b"fmt ":
            _check_format(read_at(file, position + _CHUNK_BYTES, 16), name)
        if kind == b"ds64":
            _, long_bytes = struct.unpack("<QQ", read_at(file, position + _CHUNK_BYTES, 16).ljust(16, b"\0"))
        if kind == samples:
            size = long_bytes if size == _IN_DS64 and long_bytes else size
            if size == 0 or size >= UNKNOWN_BYTES:
                check_single(file, name)
                return Content(end, tuple(mended))
            refuse_cut(name, end - position - _CHUNK_BYTES, size if long_bytes else 0)
            after_samples = True
        stop = position + _CHUNK_BYTES + size
        position = _after(file, stop)
        if position == stop and size % 2 and not after_samples:
            mended.append((stop, 0, b"\0"))
    raise too_many(name)


def _check_format(data: bytes, name: str) -> None:
    """Raise AudioUnreadableError if both sizes of a WAV's header say that its channels or bits are wrong.

    libsndfile believes the channels and bits, and would read noise. Where one of the two sizes agrees with
    them, the other is a writer's mistake.
    """
    if len(data) < 16:
        return
    codec, channels, rate_hz, bytes_per_s, block_bytes, bits = struct.unpack("<2H2I2H", data)
    wanted = {channels * -(-bits // 8)} | ({channels * _PADDED_BYTES} if bits == _PADDED_BITS else set())
    if codec in _PLAIN_SAMPLES and block_bytes not in wanted and bytes_per_s == rate_hz * block_bytes:
        raise AudioUnreadableError(
            f"{name}: its header contradicts itself: {channels} samples of {bits} bits are not "
            f"{block_bytes} bytes"
        )


def avi_content(file: BinaryIO, name: str) -> Content:
    """Return the content of an AVI file: its chunks, and those in its lists of audio and pictures.

    Raises:
        AudioUnreadableError: the chain of chunks breaks or ends early.
    """
    end, position = size_of(file), 0
    for _ in range(MAX_PIECES):
        if end - position < _CHUNK_BYTES:
            return Content(min(end, position))
        kind, size, within = struct.unpack(
            "<4sI4s", read_at(file, position, _HEADER_BYTES).ljust(_HEADER_BYTES)
        )
        stop = position + _CHUNK_BYTES + size
        entered = (kind == b"RIFF" and within in (b"AVI ", b"AVIX")) or (
            kind == b"LIST" and within in (b"movi", b"rec ")
        )
        if entered:
            position += _HEADER_BYTES
        elif KIND.fullmatch(kind) and kind != b"RIFF" and stop <= end:
            position = _after(file, stop)
        elif is_padding(file, position):
            return Content(position)
        elif KIND.fullmatch(kind) and stop > end:
            raise AudioUnreadableError(
                f"{name}: is cut off, damaged, or followed by another file: the chunk at its byte {position} "
                "would end after the file"
            )
        else:
            refuse_rest(file, name, position)
    raise too_many(name)


def _after(file: BinaryIO, stop: int) -> int:
    """Return where the chunk after one that stops here starts: an even byte, but some writers forget that."""
    following = read_at(file, stop, 4)
    padded = stop % 2 and not (KIND.match(following) and following[:1] != b"\0")
    return stop + 1 if padded else stop


def _refuse_after_samples(file: BinaryIO, name: str, position: int) -> None:
    check_single(file, name)
    end = size_of(file)
    raise AudioUnreadableError(
        f"{name}: {end - position} of its {end} bytes follow its samples: a second block of "
        "samples or another file, of which only the first can be read"
    )
