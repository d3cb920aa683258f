"""Checks that a file is whole and that libsndfile reads it to its end, beside those of chains of chunks.

libsndfile stops without an error where it believes the audio ends.  It reads the first of several joined
files, guesses the length of an MP3 without a Xing header, and shortens the length that a cut WAV states.
"""

from __future__ import annotations

import re
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, BinaryIO

import soundfile

from ssvd_asr.audio.chunks import UNKNOWN_BYTES
from ssvd_asr.audio.ffmpeg_child import TOLERANCE_S
from ssvd_asr.audio.file_bytes import READ_BYTES, position_of, read_at, size_of
from ssvd_asr.errors import AudioUnreadableError

_UNKNOWN_FRAMES = 2**36 - 1  # the largest number that a FLAC header holds

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
    )
)
_FILE_START_BYTES = 12
_LONGEST_PATTERN_BYTES = 32

_ID3V2_HEADER_BYTES = 10
_ID3V1_BYTES = 128  # at the end of the file
_APE_IS_HEADER = 1 << 29  # and not the same 32 bytes at the tag's end
_MAX_TAGS = 10_000  # more take seconds, and no file of joined files has as many
_PACKETS_START = re.compile(b"ID3|\xff[\xe0-\xff]")
_TAG = re.compile(rb"ID3[\x02-\x04][\x00-\xff]{2}[\x00-\x7f]{4}|APETAGEX[\x00-\xff]{24}")
_XING = re.compile(b"Xing|Info")
_XING_SEARCH_BYTES = 4_096
_XING_FRAMES_AND_BYTES = 3  # the flags of the two fields

_W64_CHUNK_BYTES = 24  # of a chunk's header
_NIST_HEADER_BYTES = 1_024
_NIST_FRAMES = re.compile(rb"^sample_count -i ([1-9]\d{0,15})\s", re.MULTILINE)

# libsndfile's log of a header states each size, as in "RIFF : 128036 (should be 64014)".
_OUTER_SIZE = re.compile(r"^(?:RIFF|RIFX|FORM|riff) *: (\d+)", re.MULTILINE)
_AUDIO_SIZE = re.compile(r"^ *(?:data|SSND|Data Size) *: (\d+)(?: \(should be (\d+)\))?", re.MULTILINE)


def check_single(file: BinaryIO, name: str) -> None:
    """Check that a file is not several joined ones of a format of which only the first is read.

    Raises:
        AudioUnreadableError: it is.
    """
    for start in _FILE_STARTS:
        if start.match(read_at(file, 0, _FILE_START_BYTES)) and _occurs_again(start, file):
            raise AudioUnreadableError(
                f"{name}: several files joined to one, of which only the first can be read"
            )


def check_riff(file: BinaryIO, name: str) -> None:
    """Check that a WAV or AVI file is as long as its header states.

    Raises:
        AudioUnreadableError: it is shorter.
    """
    kind, stated = struct.unpack("<4sI", read_at(file, 0, 8).ljust(8, b"\0"))
    size = size_of(file)
    if kind == b"RIFF" and stated < UNKNOWN_BYTES and size < stated:
        raise AudioUnreadableError(
            f"{name}: is cut off: it holds {size} of the {stated + 8} bytes that its header states"
        )


@contextmanager
def without_tags(file: BinaryIO, name: str) -> Iterator[BinaryIO]:
    """Yield an MP3 or AAC file without its ID3v2 and APE tags, or any other file unchanged.

    FFmpeg takes the pictures in tags for audio, unless the tag is the first thing in the file.

    Raises:
        AudioUnreadableError: it has more than _MAX_TAGS tags.
    """
    if not (_PACKETS_START.match(read_at(file, 0, 3)) and _occurs_again(_TAG, file)):
        yield file
        return
    with tempfile.TemporaryFile() as copy:
        if not _copy_without_tags(read_at(file, 0, size_of(file)), copy):
            raise AudioUnreadableError(f"{name}: more than {_MAX_TAGS} tags")
        copy.flush()
        yield copy


def stops_early(opened: soundfile.SoundFile, file: BinaryIO, name: str) -> bool:
    """Return whether libsndfile may stop before the end of a file that it has opened.

    Raises:
        AudioUnreadableError: the header states more audio than the file holds, or the file is several joined
            CAF, AU, W64 or NIST files.
    """
    if opened.format in ("MPEG", "MP3"):
        return _mp3_stops_early(opened, file)
    if opened.format in ("CAF", "AU", "W64"):  # libsndfile refuses joined WAV, AIFF and FLAC files
        check_single(file, name)
    if opened.format == "NIST":
        _check_nist(opened, file, name)
    size = size_of(file)
    outer, audio = _OUTER_SIZE.search(opened.extra_info), _AUDIO_SIZE.search(opened.extra_info)
    if opened.frames == 0:
        # The writer left the sizes open, unless the file is as long as it says.
        return outer is not None and abs(int(outer[1]) + 8 - size) > 8
    if opened.format == "W64" and outer is not None and size > int(outer[1]) + _W64_CHUNK_BYTES:
        raise AudioUnreadableError(f"{name}: something else follows its audio, and would be taken for it")
    if audio is None or not size < int(audio[1]) < UNKNOWN_BYTES:
        return False
    if outer is not None and not size < int(outer[1]) < UNKNOWN_BYTES:
        return False  # the file is as long as its outer size says, and only the inner size is wrong
    there_s = opened.frames / opened.samplerate
    _refuse_cut(name, there_s, there_s * int(audio[1]) / int(audio[2] or size))
    return False


def check_end(opened: soundfile.SoundFile, file: BinaryIO, end_frame: int, name: str) -> None:
    """Check that libsndfile has read as many frames as the header states, and a FLAC file to its end.

    Raises:
        AudioUnreadableError: more than TOLERANCE_S is missing.
    """
    if opened.format == "FLAC" and end_frame:
        place = position_of(file)
        unread_s: float = (size_of(file) - place) / place * end_frame / opened.samplerate
        if unread_s > TOLERANCE_S:
            raise AudioUnreadableError(
                f"{name}: is damaged, or several files joined to one: after the "
                f"{end_frame / opened.samplerate:.3f} s that its header states, "
                f"{size_of(file) - place} bytes follow"
            )
    if opened.frames < _UNKNOWN_FRAMES:
        _refuse_cut(name, end_frame / opened.samplerate, opened.frames / opened.samplerate)


def _mp3_stops_early(opened: soundfile.SoundFile, file: BinaryIO) -> bool:
    """Return whether the MP3 has no Xing header, or one that does not count to the end of the file."""
    start = _after_id3v2(file)
    head = read_at(file, start, _XING_SEARCH_BYTES)
    xing = _XING.search(head)
    if xing is None or opened.frames <= 0:
        return True
    flags, _, stated = struct.unpack(">3I", head[xing.end() :][:12].ljust(12, b"\0"))
    if flags & _XING_FRAMES_AND_BYTES != _XING_FRAMES_AND_BYTES or stated == 0:
        return True
    stated_s: float = opened.frames / opened.samplerate
    there = size_of(file) - start
    beyond_s: float = (there - stated - _ID3V1_BYTES) * stated_s / stated
    return beyond_s > TOLERANCE_S


def _check_nist(opened: soundfile.SoundFile, file: BinaryIO, name: str) -> None:
    """Check a NIST file against the count of frames in its header, which libsndfile does not read."""
    stated = _NIST_FRAMES.search(read_at(file, 0, _NIST_HEADER_BYTES))
    if stated is None:
        return
    _refuse_cut(name, opened.frames / opened.samplerate, int(stated[1]) / opened.samplerate)
    if (opened.frames - int(stated[1])) / opened.samplerate > TOLERANCE_S:
        raise AudioUnreadableError(
            f"{name}: several files joined to one, of which only the first can be read"
        )


def _refuse_cut(name: str, there_s: float, stated_s: float) -> None:
    """Raise AudioUnreadableError if more than TOLERANCE_S of the stated length is missing."""
    if stated_s - there_s > TOLERANCE_S:
        raise AudioUnreadableError(
            f"{name}: is cut off or damaged: "
            f"it holds {there_s:.3f} s of the {stated_s:.3f} s that its header states"
        )


def _copy_without_tags(data: bytes, copy: IO[bytes]) -> bool:
    """Return whether all tags were left out; it stops at _MAX_TAGS."""
    position = 0
    for _ in range(_MAX_TAGS):
        tag = _TAG.search(data, position)
        if tag is None:
            copy.write(data[position:])
            return True
        copy.write(data[position : tag.start()])
        if tag[0].startswith(b"ID3"):
            position = tag.end() + _syncsafe(tag[0][6:])
        else:
            size, _items, flags = struct.unpack("<3I", tag[0][12:24])
            position = tag.end() + (size if flags & _APE_IS_HEADER else 0)
    return False


def _after_id3v2(file: BinaryIO) -> int:
    """Return the position after the ID3v2 tags at the start of an MP3, of at most _MAX_TAGS."""
    start = 0
    for _ in range(_MAX_TAGS):
        tag = read_at(file, start, _ID3V2_HEADER_BYTES)
        if not (tag.startswith(b"ID3") and len(tag) == _ID3V2_HEADER_BYTES):
            break
        start += _ID3V2_HEADER_BYTES + _syncsafe(tag[6:])
    return start


def _syncsafe(digits: bytes) -> int:
    """Return the number that an ID3v2 header writes with 7 bits a byte."""
    return sum((digit & 0x7F) << 7 * place for place, digit in enumerate(reversed(digits)))


def _occurs_again(start: re.Pattern[bytes], file: BinaryIO) -> bool:
    """Return whether a pattern of at most _LONGEST_PATTERN_BYTES occurs after the file's first byte."""
    return any(
        start.search(read_at(file, position, READ_BYTES + _LONGEST_PATTERN_BYTES))
        for position in range(1, size_of(file), READ_BYTES)
    )
