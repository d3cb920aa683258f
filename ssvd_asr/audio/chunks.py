"""Chunks of MP4, FLV, RealMedia, CAF, W64, AU, WMA (ASF) and MXF files, of which every byte belongs to one.

Decoders skip what they do not know.  Another file behind the first, or a place where bytes are missing or
overwritten would cost audio without an error.
"""

from __future__ import annotations

import math
import re
import struct
from typing import BinaryIO

from ssvd_asr.audio.content import Content, walk
from ssvd_asr.audio.file_bytes import read_at, size_of
from ssvd_asr.audio.padding import UNKNOWN_BYTES, check_single, is_padding, refuse_cut, refuse_rest
from ssvd_asr.audio.riff import KIND
from ssvd_asr.errors import AudioUnreadableError

MXF_KEY = b"\x06\x0e\x2b\x34"  # with which the key of every piece starts
ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")

_CHUNK_BYTES = 8  # of the header of a box or a chunk of RealMedia
_BOX_TO_THE_END, _BOX_OF_64_BITS = 0, 1
_FLV_TAG_BYTES = 11  # of a tag's header; its data follow, and then the size of both
_RM_PACKETS = struct.Struct(">4sI2xI4x")  # kind, size and number of packets of the chunk DATA
_RM_PACKET_BYTES = 12  # at least
_CAF_HEADER_BYTES = 8
_CAF_CHUNK = struct.Struct(">4sq")
_GUID_CHUNK = struct.Struct("<16sQ")  # kind and size of a chunk of W64 or ASF
_UNKNOWN_64_BITS = 2**62  # a size from here on means "not known yet"
_W64_HEADER_BYTES = 40
_W64_KIND_END = bytes.fromhex("00c04f8edb8a")
_ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
_ASF_EMPTY_DATA_BYTES = 50  # what its writer states before it knows
_NIST_HEADER_BYTES = 1_024
_NIST_COUNTS = tuple(
    re.compile(rb"^" + field + rb" -(?:i|s\d+) ([1-9]\d{0,15})\s", re.MULTILINE)
    for field in (b"sample_count", b"channel_count", b"sample_n_bytes")
)
_AU_HEADER = struct.Struct(">4x2I")  # where the samples start, and how many bytes they are


def mp4_content(file: BinaryIO, name: str) -> Content:
    """Return the content of an MP4 file: its outermost boxes."""

    def after(file: BinaryIO, position: int) -> int | None:
        size, kind, long_size = struct.unpack(">I4sQ", read_at(file, position, 16).ljust(16, b"\0"))
        if not KIND.fullmatch(kind) or (kind == b"ftyp" and position):
            return None
        if size == _BOX_TO_THE_END:
            return size_of(file)
        size = long_size if size == _BOX_OF_64_BITS else size
        return position + size if size >= _CHUNK_BYTES else None

    return walk(file, name, 0, after, "a box of its MP4 container")


def flv_content(file: BinaryIO, name: str) -> Content:
    """Return the content of an FLV file. Recorders that are stopped leave out the size after its last tag."""

    def after(file: BinaryIO, position: int) -> int | None:
        header = read_at(file, position, _FLV_TAG_BYTES).ljust(_FLV_TAG_BYTES, b"\0")
        size = _FLV_TAG_BYTES + int.from_bytes(header[1:4], "big")
        stated = read_at(file, position + size, 4)
        if len(stated) == 4 and int.from_bytes(stated, "big") != size:
            return None
        return position + size + len(stated)

    return walk(file, name, int.from_bytes(read_at(file, 5, 4), "big") + 4, after, "an FLV tag")


def real_media_content(file: BinaryIO, name: str) -> Content:
    """Return the content of a RealMedia file: its chunks, and the packets in those of data."""
    end, position = size_of(file), 0

    def after(file: BinaryIO, position: int) -> int | None:
        kind, size, count = _RM_PACKETS.unpack(
            read_at(file, position, _RM_PACKETS.size).ljust(_RM_PACKETS.size, b"\0")
        )
        if not KIND.fullmatch(kind) or size < _CHUNK_BYTES or (kind == b".RMF" and position):
            return None
        if kind != b"DATA":
            return position + int(size)
        return _after_packets(file, name, position + _RM_PACKETS.size, count) if count else end

    return walk(file, name, position, after, "a RealMedia chunk")


def _after_packets(file: BinaryIO, name: str, position: int, count: int) -> int:
    end = size_of(file)
    for _ in range(count):
        version, size = struct.unpack(">HH", read_at(file, position, 4).ljust(4, b"\xff"))
        if version > 1 or size < _RM_PACKET_BYTES or position + size > end:
            raise AudioUnreadableError(f"{name}: is cut off or damaged at byte {position} of {end}")
        position += size
    return position


def caf_content(file: BinaryIO, name: str) -> Content:
    """Return the content of a CAF file. Samples of an unknown size last to its end."""

    def after(file: BinaryIO, position: int) -> int | None:
        kind, size = _CAF_CHUNK.unpack(read_at(file, position, _CAF_CHUNK.size).ljust(_CAF_CHUNK.size, b"\0"))
        if kind == b"data" and size < 0:
            check_single(file, name)
            return size_of(file)
        return position + _CAF_CHUNK.size + int(size) if KIND.fullmatch(kind) and size >= 0 else None

    return walk(file, name, _CAF_HEADER_BYTES, after, "a CAF chunk")


def w64_content(file: BinaryIO, name: str) -> Content:
    """Return the content of a W64 file. Samples of an unknown size last to its end."""
    end, mended = size_of(file), []

    def after(file: BinaryIO, position: int) -> int | None:
        kind, size = _GUID_CHUNK.unpack(
            read_at(file, position, _GUID_CHUNK.size).ljust(_GUID_CHUNK.size, b"\0")
        )
        if kind.startswith(b"data") and (size <= _GUID_CHUNK.size or size >= _UNKNOWN_64_BITS):
            check_single(file, name)
            # Decoders do not know the sizes of a pipe.
            mended.extend(
                [(16, 8, struct.pack("<Q", end)), (position + 16, 8, struct.pack("<Q", end - position))]
            )
            return end
        if not kind.endswith(_W64_KIND_END) or size < _GUID_CHUNK.size:
            return None
        stop = position + int(size)
        return stop if stop == end else stop + -stop % 8

    content = walk(file, name, _W64_HEADER_BYTES, after, "a W64 chunk")
    return Content(content.end, tuple(mended))


def asf_content(file: BinaryIO, name: str) -> Content:
    """Return the content of an ASF (WMA) file. Packets of an unknown size last to its end."""

    def after(file: BinaryIO, position: int) -> int | None:
        kind, size = _GUID_CHUNK.unpack(
            read_at(file, position, _GUID_CHUNK.size).ljust(_GUID_CHUNK.size, b"\0")
        )
        if kind == _ASF_DATA and (size <= _ASF_EMPTY_DATA_BYTES or size >= _UNKNOWN_64_BITS):
            return size_of(file)
        if size < _GUID_CHUNK.size or (kind == ASF_HEADER and position):
            return None
        return position + int(size)

    return walk(file, name, 0, after, "a chunk of its ASF container")


def mxf_content(file: BinaryIO, name: str) -> Content:
    """Return the content of an MXF file."""

    def after(file: BinaryIO, position: int) -> int | None:
        head = read_at(file, position, 25).ljust(25, b"\0")
        if not head.startswith(MXF_KEY):
            return None
        count = head[16] & 0x7F if head[16] & 0x80 else 0  # bytes of a long length
        size = int.from_bytes(head[17 : 17 + count], "big") if count else head[16]
        return position + 17 + count + size if count <= 8 else None

    return walk(file, name, 0, after, "an MXF packet")


def au_content(file: BinaryIO, name: str) -> Content:
    """Return the content of an AU file. Samples of an unknown size last to its end."""
    start, size = _AU_HEADER.unpack(read_at(file, 0, _AU_HEADER.size).ljust(_AU_HEADER.size, b"\0"))
    end = size_of(file)
    if size == 0 or size >= UNKNOWN_BYTES:
        check_single(file, name)
        return Content(end)
    if start + size < end and not is_padding(file, start + size):
        refuse_rest(file, name, start + size)
    return Content(min(end, start + size))


def nist_content(file: BinaryIO, name: str) -> Content | None:
    """Return the content of a NIST (SPHERE) file of PCM that states its length; None for another file."""
    header = read_at(file, 0, _NIST_HEADER_BYTES)
    if not header.startswith(b"NIST_1A"):
        return None
    counts = [field.search(header) for field in _NIST_COUNTS]
    if not all(counts):
        return None
    stop = _NIST_HEADER_BYTES + math.prod(int(count[1]) for count in counts if count is not None)
    refuse_cut(name, size_of(file), stop)
    if not is_padding(file, stop):
        refuse_rest(file, name, stop)
    return Content(stop)
