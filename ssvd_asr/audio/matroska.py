"""Elements of Matroska and WebM files, to the end of the file, and of files joined to one.

FFmpeg reads on in a second file behind the first, but with the decoder of the first, and passes over anything
else there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from ssvd_asr.audio.content import MAX_PIECES, Content, too_many
from ssvd_asr.audio.file_bytes import read_at, size_of
from ssvd_asr.audio.padding import ADVICE, is_padding, refuse_rest
from ssvd_asr.errors import AudioUnreadableError

EBML = 0x1A45DFA3  # at the start of a file

_SEGMENT, _CLUSTER, _TRACKS, _TRACK = 0x18538067, 0x1F43B675, 0x1654AE6B, 0xAE
_CODEC, _CODEC_HEADER = 0x86, 0x63A2
_MAX_TRACKS_BYTES = 2**20
_HEADER_BYTES = 12  # of an element, at most
# What may lie in a segment or cluster whose size is not known, as browsers write them.
_INSIDE = frozenset(
    {0x114D9B74, 0x1549A966, _TRACKS, _CLUSTER, 0x1C53BB6B, 0x1043A770, 0x1941A469, 0x1254C367}  # of segments
    | {0xE7, 0xA3, 0xA0, 0xAB, 0xA7, 0x5854, 0xAF}  # of clusters
    | {0xEC, 0xBF}  # of both: filling and checksums
)


class _Element(NamedTuple):
    kind: int
    start: int  # of its data
    size: int | None  # of its data; None if it is not known


def matroska_content(file: BinaryIO, name: str) -> Content:
    """Return the content of a Matroska or WebM file.

    Raises:
        AudioUnreadableError: it ends within an element, something else lies behind or within it, or files of
            different codecs are joined.
    """
    end, position, segment_end = size_of(file), 0, 0
    codecs: list[tuple[bytes, ...]] = []
    for _ in range(MAX_PIECES):
        if position >= end:
            return Content(end)
        element = _element(file, position)
        known = element is not None and (
            element.kind in (EBML, _SEGMENT) or position < segment_end or element.kind in _INSIDE
        )
        if element is None or not known:
            if is_padding(file, position):
                return Content(position)
            refuse_rest(file, name, position)
        if element.size is not None and element.start + element.size > end:
            raise AudioUnreadableError(f"{name}: is cut off: it ends within a Matroska element: {ADVICE}")
        if element.kind == _TRACKS:
            codecs.append(_codecs(file, element))
            if codecs[-1] != codecs[0]:
                raise AudioUnreadableError(
                    f"{name}: several files of different codecs joined to one, "
                    "of which only the first can be read"
                )
        if element.kind == _SEGMENT:
            segment_end = 0 if element.size is None else element.start + element.size
        if element.kind == _SEGMENT or (element.kind == _CLUSTER and element.size is None):
            position = element.start
        elif element.size is None:
            refuse_rest(file, name, position)
        else:
            position = element.start + element.size
    raise too_many(name)


def _element(file: BinaryIO, position: int) -> _Element | None:
    """Return the element at a position; None where none can start."""
    head = read_at(file, position, _HEADER_BYTES)
    kind_bytes = _width(head, 0)
    size_bytes = _width(head, kind_bytes)
    if not 0 < kind_bytes <= 4 or not size_bytes or len(head) < kind_bytes + size_bytes:
        return None
    size = int.from_bytes(head[kind_bytes : kind_bytes + size_bytes], "big") & (1 << 7 * size_bytes) - 1
    unknown = size == (1 << 7 * size_bytes) - 1
    return _Element(
        int.from_bytes(head[:kind_bytes], "big"),
        position + kind_bytes + size_bytes,
        None if unknown else size,
    )


def _width(head: bytes, place: int) -> int:
    """Return the bytes of the number at a place, which its leading zero bits tell; 0 if it is none."""
    return 9 - head[place].bit_length() if place < len(head) and head[place] else 0


def _codecs(file: BinaryIO, tracks: _Element) -> tuple[bytes, ...]:
    """Return the codec of each track, and the header of each that has one."""
    if tracks.size is None or tracks.size > _MAX_TRACKS_BYTES:
        return ()
    found = []
    for track in _children(file, tracks.start, tracks.start + tracks.size):
        if track.kind == _TRACK and track.size is not None:
            found += [
                read_at(file, each.start, each.size)
                for each in _children(file, track.start, track.start + track.size)
                if each.kind in (_CODEC, _CODEC_HEADER) and each.size is not None
            ]
    return tuple(found)


def _children(file: BinaryIO, position: int, stop: int) -> Iterator[_Element]:
    while position < stop:
        element = _element(file, position)
        if element is None or element.size is None:
            return
        yield element
        position = element.start + element.size
