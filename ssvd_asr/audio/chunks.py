"""Chains of chunks in WAV, AVI, MP4, FLV and RealMedia files, in which every byte belongs to one.

Decoders skip what they do not know.  A second block of samples, another file behind the first, or a place
where bytes are missing or overwritten would cost audio without an error.
"""

from __future__ import annotations

import re
import struct
from typing import BinaryIO

from ssvd_asr.audio.file_bytes import only_zeros, read_at, size_of
from ssvd_asr.errors import AudioUnreadableError

MAX_CHUNKS = 500_000  # more take seconds, and no file within the limit on bytes needs as many
UNKNOWN_BYTES = 0x7F000000  # a size from here on means "not known yet", as in files written to a pipe

_KIND = re.compile(rb"[\x20-\x7e\xa9]{4}")
_MAX_TAGS = 10  # behind a file
_APE_IS_HEADER = 1 << 29  # and not the same 32 bytes at the tag's end
_RIFF_BYTES = 12  # of the header of a RIFF file or list
_CHUNK_BYTES = 8  # of the header of a chunk
_IN_DS64 = 0xFFFFFFFF  # the size of samples stands in the chunk ds64
_BOX_TO_THE_END, _BOX_OF_64_BITS = 0, 1
_FLV_TAG_BYTES = 11  # of a tag's header; its data follow, and then the size of both
_RM_PACKETS = struct.Struct(">4sI2xI4x")  # kind, size and number of packets of the chunk DATA
_RM_PACKET_BYTES = 12  # at least


def check_chunks(file: BinaryIO, name: str) -> None:
    """Check the chain of chunks of a file that has one; other files pass.

    Raises:
        AudioUnreadableError: the chain breaks or ends early, or a WAV file has several blocks of samples.
    """
    head = read_at(file, 0, _RIFF_BYTES).ljust(_RIFF_BYTES, b"\0")
    if head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:] == b"WAVE":
        _check_wav(file, name)
    elif head[:4] == b"RIFF" and head[8:11] == b"AVI":
        _check_avi(file, name)
    elif head[4:8] == b"ftyp":
        _check_boxes(file, name)
    elif head[:4] == b"FLV\1":
        _check_flv(file, name)
    elif head[:4] == b".RMF":
        _check_real_media(file, name)


def _check_wav(file: BinaryIO, name: str) -> None:
    """Check what follows the samples. Samples of an unknown size last to the end of the file."""
    end, position, long_bytes, after_samples = size_of(file), _RIFF_BYTES, 0, False
    for _ in range(MAX_CHUNKS):
        if end - position < _CHUNK_BYTES:
            return
        kind, size = struct.unpack("<4sI", read_at(file, position, _CHUNK_BYTES))
        known = _KIND.fullmatch(kind) and position + _CHUNK_BYTES + size <= end
        if after_samples and (kind in (b"data", b"RIFF", b"RF64") or not known):
            if not _is_padding(file, position):
                raise AudioUnreadableError(
                    f"{name}: {end - position} of its {end} bytes follow its samples: a second block of "
                    "samples or another file, of which only the first can be read"
                )
            return
        if kind == b"ds64":
            _, long_bytes = struct.unpack("<QQ", read_at(file, position + _CHUNK_BYTES, 16).ljust(16, b"\0"))
        if kind == b"data":
            size = long_bytes if size == _IN_DS64 and long_bytes else size
            if size == 0 or size >= UNKNOWN_BYTES:
                return
            _refuse_cut(name, end - position - _CHUNK_BYTES, size if long_bytes else 0)
            after_samples = True
        position = _after(file, position + _CHUNK_BYTES, size)
    raise AudioUnreadableError(f"{name}: has more than {MAX_CHUNKS} chunks")


def _check_avi(file: BinaryIO, name: str) -> None:
    """Check the chunks of an AVI file, and those in its lists of audio and pictures."""
    end, position = size_of(file), 0
    for _ in range(MAX_CHUNKS):
        if position > end + 1:  # a last chunk may lack its padding
            raise AudioUnreadableError(
                f"{name}: is cut off or damaged: a chunk of it would end after the file"
            )
        if end - position < _CHUNK_BYTES:
            return
        kind, size, within = struct.unpack("<4sI4s", read_at(file, position, _RIFF_BYTES).ljust(_RIFF_BYTES))
        if not _KIND.fullmatch(kind):
            _refuse_break(file, name, position)
            return
        if kind == b"RIFF" or (kind == b"LIST" and within in (b"movi", b"rec ")):
            position += _RIFF_BYTES
        else:
            position = _after(file, position + _CHUNK_BYTES, size)
    raise AudioUnreadableError(f"{name}: has more than {MAX_CHUNKS} chunks")


def _check_boxes(file: BinaryIO, name: str) -> None:
    """Check the outermost boxes of an MP4 file."""
    end, position = size_of(file), 0
    for _ in range(MAX_CHUNKS):
        if end - position < _CHUNK_BYTES:
            return
        size, kind, long_size = struct.unpack(">I4sQ", read_at(file, position, 16).ljust(16, b"\0"))
        if not _KIND.fullmatch(kind):
            _refuse_break(file, name, position)
            return
        if size == _BOX_TO_THE_END:
            return
        size = long_size if size == _BOX_OF_64_BITS else size
        if size < _CHUNK_BYTES or (position + size > end and _is_padding(file, position)):
            _refuse_break(file, name, position)
            return
        _refuse_cut(name, end - position, size)
        position += size
    raise AudioUnreadableError(f"{name}: has more than {MAX_CHUNKS} chunks")


def _check_flv(file: BinaryIO, name: str) -> None:
    """Check the tags of an FLV file. Recorders that are stopped leave out the size after the last one."""
    end, position = size_of(file), int.from_bytes(read_at(file, 5, 4), "big") + 4
    for _ in range(MAX_CHUNKS):
        if end - position <= 0:
            return
        header = read_at(file, position, _FLV_TAG_BYTES).ljust(_FLV_TAG_BYTES, b"\0")
        size = _FLV_TAG_BYTES + int.from_bytes(header[1:4], "big")
        _refuse_cut(name, end - position, size)
        after = read_at(file, position + size, 4)
        if len(after) == 4 and int.from_bytes(after, "big") != size:
            _refuse_break(file, name, position)
            return
        position += size + 4
    raise AudioUnreadableError(f"{name}: has more than {MAX_CHUNKS} chunks")


def _check_real_media(file: BinaryIO, name: str) -> None:
    """Check the packets of a RealMedia file."""
    end, position = size_of(file), 0
    while end - position >= _CHUNK_BYTES:
        kind, size, count = _RM_PACKETS.unpack(
            read_at(file, position, _RM_PACKETS.size).ljust(_RM_PACKETS.size)
        )
        if kind == b"DATA":
            break
        if not _KIND.fullmatch(kind) or size < _CHUNK_BYTES:
            return  # FFmpeg does not read it
        position += size
    else:
        return
    position += _RM_PACKETS.size
    for _ in range(min(count, MAX_CHUNKS)):
        version, size = struct.unpack(">HH", read_at(file, position, 4).ljust(4, b"\xff"))
        if version > 1 or size < _RM_PACKET_BYTES or position + size > end:
            raise AudioUnreadableError(f"{name}: is cut off or damaged at byte {position} of {end}")
        position += size


def _after(file: BinaryIO, start: int, size: int) -> int:
    """Return where the chunk after one of this size starts: at an even byte, but some writers forget that."""
    stop = start + size
    padded = size % 2 and not (_KIND.match(read_at(file, stop, 4)) and read_at(file, stop, 1) != b"\0")
    return stop + 1 if padded else stop


def _is_padding(file: BinaryIO, position: int) -> bool:
    """Return whether the rest of a file holds no audio: tags of players, and zeros."""
    end = size_of(file)
    for _ in range(_MAX_TAGS):
        head = read_at(file, position, 32).ljust(32, b"\0")
        if head.startswith(b"ID3"):
            position += 10 + sum((digit & 0x7F) << 7 * place for place, digit in enumerate(head[9:5:-1]))
        elif head.startswith(b"APETAGEX"):
            size, _, flags = struct.unpack("<3I", head[12:24])
            position += 32 + (size if flags & _APE_IS_HEADER else 0)
        elif head.startswith(b"TAG"):
            position += 128
        else:
            break
    return only_zeros(file, position, end)


def _refuse_break(file: BinaryIO, name: str, position: int) -> None:
    if not _is_padding(file, position):
        raise AudioUnreadableError(
            f"{name}: is cut off, damaged, or followed by another file, of which nothing would be read: "
            f"its byte {position} of {size_of(file)} is no part of it"
        )


def _refuse_cut(name: str, there: int, stated: int) -> None:
    if there < stated:
        raise AudioUnreadableError(
            f"{name}: is cut off: it holds {there} of the {stated} bytes that its header states"
        )
