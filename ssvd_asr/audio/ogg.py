"""Pages of Ogg files: all there, in order and undamaged.

Decoders skip a page whose checksum is wrong or that is missing, and what they return is shorter.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import BinaryIO

from ssvd_asr.audio.file_bytes import only_zeros, read_at, size_of
from ssvd_asr.audio.padding import ADVICE
from ssvd_asr.errors import AudioUnreadableError

_MAGIC = b"OggS\0"
# After the magic: flags, position of its audio, number of the stream and of the page, checksum, and the
# count of the sizes that follow, whose sum is the page's body.
_HEADER = struct.Struct("<5xBqIIIB")
_CHECKSUM = slice(22, 26)
_NO_PACKET_ENDS = -1  # the position of a page that holds only a packet's middle
_FIRST, _LAST = 2, 4  # flags of a stream's first and last page
_MAX_PAGE_BYTES = 65_307
_MAX_PAGES = 1_000_000  # 100 bytes each in a file of the largest size
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(frozen=True)
class OggPages:
    """What the pages of a whole Ogg file say.

    Attributes:
        streams: how many streams begin in it.
        started: whether no page is missing after a stream's header. A listener who joins a running stream
            has the header and what followed from then on.
        ended: whether the file ends with a stream's last page.
    """

    streams: int
    started: bool
    ended: bool

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences on what may be missing."""
        found = []
        if not self.started:
            found.append("The recording begins within a running stream: the pages before are not in the file")
        if not self.ended:
            found.append("The file does not say that its recording ends here: it may be cut off")
        return tuple(found)


def read_pages(file: BinaryIO, name: str) -> OggPages | None:
    """Read all pages of an Ogg file; None for another file.

    Raises:
        AudioUnreadableError: the file ends within a page, a page is missing or damaged, or something else
            lies between the pages.
    """
    if read_at(file, 0, len(_MAGIC)) != _MAGIC:
        return None
    end, position, streams, started, ended = size_of(file), 0, 0, True, False
    numbers: dict[int, tuple[int, bool]] = {}  # by stream: its last page, and whether that is of the header
    for _ in range(_MAX_PAGES):
        if position == end:
            return OggPages(streams, started, ended)
        page = read_at(file, position, _MAX_PAGE_BYTES)
        if page[: len(_MAGIC)] != _MAGIC[: len(page)]:
            if page.startswith(b"TAG") or only_zeros(file, position, end):
                return OggPages(streams, started, ended)
            raise _damaged(name, position, end)
        page = _whole_page(page, name)
        flags, granule, stream, number, _, _ = _HEADER.unpack_from(page)
        last, in_header = numbers.get(stream, (number - 1, False))
        missing = number != last + 1 and not flags & _FIRST
        if (missing and not in_header) or _checksum(page) != page[_CHECKSUM]:
            raise _damaged(name, position, end)
        started = started and not missing
        numbers[stream] = number, granule == 0 or (granule == _NO_PACKET_ENDS and in_header)
        streams += bool(flags & _FIRST)
        ended = bool(flags & _LAST)
        position += len(page)
    raise AudioUnreadableError(f"{name}: has more than {_MAX_PAGES} Ogg pages")


def _whole_page(data: bytes, name: str) -> bytes:
    """Return the page at the start of data."""
    sizes = data[_HEADER.size :][: data[_HEADER.size - 1]] if len(data) > _HEADER.size else b""
    size = _HEADER.size + len(sizes) + sum(sizes)
    if len(data) < _HEADER.size or len(sizes) < data[_HEADER.size - 1] or size > len(data):
        raise AudioUnreadableError(f"{name}: is cut off: it ends within an Ogg page: {ADVICE}")
    return data[:size]


def _checksum(page: bytes) -> bytes:
    """Return an Ogg page's checksum: a CRC of zlib's polynomial, but from the highest bit on, and plain."""
    plain = page[: _CHECKSUM.start] + bytes(4) + page[_CHECKSUM.stop :]
    crc = zlib.crc32(plain.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return crc.to_bytes(4, "little").translate(_REVERSED)[::-1]


def _damaged(name: str, position: int, end: int) -> AudioUnreadableError:
    return AudioUnreadableError(
        f"{name}: is cut off or damaged: its byte {position} of {end} begins no page of its Ogg stream, "
        "or not the next one"
    )
