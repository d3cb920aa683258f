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

from ssvd_asr.audio import flac, mpeg
from ssvd_asr.audio.chunks import (
    ASF_HEADER,
    MXF_KEY,
    asf_content,
    au_content,
    caf_content,
    flv_content,
    mp4_content,
    mxf_content,
    nist_content,
    real_media_content,
    w64_content,
)
from ssvd_asr.audio.content import Content
from ssvd_asr.audio.file_bytes import position_of, read_at, size_of
from ssvd_asr.audio.frames import (
    AC3_SYNC,
    PACK_START,
    ac3_content,
    loas_content,
    program_stream_content,
    tta_content,
    wavpack_content,
)
from ssvd_asr.audio.matroska import EBML, matroska_content
from ssvd_asr.audio.padding import ADVICE, UNKNOWN_BYTES, broken_end, end_without_tags, occurs_again
from ssvd_asr.audio.riff import avi_content, wav_content
from ssvd_asr.audio.tolerance import TOLERANCE_S
from ssvd_asr.errors import AudioUnreadableError

_UNKNOWN_FRAMES = 2**36 - 1  # the largest number that a FLAC header holds

_ID3V2_HEADER_BYTES = 10
_LAYER = 0x06  # bits of a frame's header, none of which is set in AAC
# libsndfile knows an MP3 by it.  Of others it believes the resource fork "._" in the working directory more.
_EMPTY_ID3V2 = b"ID3\4\0\0\0\0\0\x0a" + bytes(10)
_ID3V1_BYTES = 128  # at the end of the file
_APE_IS_HEADER = 1 << 29  # and not the same 32 bytes at the tag's end
_MAX_TAGS = 10_000  # more take seconds, and no file of joined files has as many
_PACKETS_START = re.compile(b"ID3|\xff[\xe0-\xff]")
_TAG = re.compile(rb"ID3[\x02-\x04][\x00-\xff]{2}[\x00-\x7f]{4}|APETAGEX[\x00-\xff]{24}")
_CONTENTS = {  # by the first bytes of a file
    b"caff": caf_content,
    b"riff": w64_content,
    b".snd": au_content,
    b"FLV\1": flv_content,
    b".RMF": real_media_content,
    b"TTA1": tta_content,
    b"wvpk": wavpack_content,
    AC3_SYNC: ac3_content,
    b"\x56\xe0": loas_content,
    b"\x56\xe1": loas_content,
    PACK_START: program_stream_content,
    ASF_HEADER[:8]: asf_content,
    MXF_KEY: mxf_content,
    EBML.to_bytes(4, "big"): matroska_content,
}

# libsndfile's log of a header states each size, as in "RIFF : 128036 (should be 64014)".
_OUTER_SIZE = re.compile(r"^(?:RIFF|RIFX|FORM|riff) *: (\d+)", re.MULTILINE)
_AUDIO_SIZE = re.compile(r"^ *(?:data|SSND|Data Size) *: (\d+)(?: \(should be (\d+)\))?", re.MULTILINE)


def content_of(file: BinaryIO, name: str) -> Content:
    """Return the content of a file, without the tags and zeros behind it.

    Raises:
        AudioUnreadableError: its chunks, packets or frames break off, or another file follows.
    """
    head = read_at(file, 0, 12).ljust(12, b"\0")
    riff, form = head[:4] in (b"RIFF", b"RF64", b"BW64"), head[:4] == b"FORM"
    if (riff and head[8:] == b"WAVE") or (form and head[8:] in (b"AIFF", b"AIFC")):
        return wav_content(file, name)
    if riff and head[8:] == b"AVI ":
        return avi_content(file, name)
    for start, reader in _CONTENTS.items():
        if head.startswith(start):
            return reader(file, name)
    if head[4:8] == b"ftyp":
        return mp4_content(file, name)
    if (content := mpeg.transport_stream_content(file, name) or nist_content(file, name)) is not None:
        return content
    start_of_audio = _after_id3v2(file)
    if read_at(file, start_of_audio, 4) == b"TTA1":
        return tta_content(file, name, start_of_audio)
    if read_at(file, start_of_audio, 4) == flac.MAGIC:
        return flac.flac_content(file, start_of_audio)
    mended = ((0, 0, _EMPTY_ID3V2),) if mpeg.SYNC.match(head) and head[1] & _LAYER else ()
    return Content(end_without_tags(file), mended)


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
    head = read_at(file, 0, len(_EMPTY_ID3V2))
    if not _PACKETS_START.match(head) or not (head == _EMPTY_ID3V2 or occurs_again(_TAG, file)):
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
        AudioUnreadableError: the header states more audio than the file holds.
    """
    if opened.format in ("MPEG", "MP3"):
        return _mp3_stops_early(opened, file)
    if opened.format == "FLAC" and not flac.states_length(file):
        return True  # libsndfile would take what follows for damage
    size = size_of(file)
    outer, audio = _OUTER_SIZE.search(opened.extra_info), _AUDIO_SIZE.search(opened.extra_info)
    if opened.frames == 0:
        # The writer left the sizes open, unless the file is as long as it says.
        return outer is not None and abs(int(outer[1]) + 8 - size) > 8
    if audio is None or not size < int(audio[1]) < UNKNOWN_BYTES:
        return False
    if outer is not None and not size < int(outer[1]) < UNKNOWN_BYTES:
        return False  # the file is as long as its outer size says, and only the inner size is wrong
    there_s = opened.frames / opened.samplerate
    _refuse_cut(name, there_s, there_s * int(audio[1]) / int(audio[2] or size))
    return False


def check_end(opened: soundfile.SoundFile, file: BinaryIO, end_frame: int, name: str) -> tuple[str, ...]:
    """Check that libsndfile has read as many frames as the header states, and a FLAC file to its end.

    Returns:
        A sentence on what is missing, if it is not more than TOLERANCE_S, as a broken last frame of an MP3.

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
        flac.check_last_frame(file, name)
    missing = opened.frames - end_frame
    if opened.frames >= _UNKNOWN_FRAMES or missing <= 0:
        return ()
    _refuse_cut(name, end_frame / opened.samplerate, opened.frames / opened.samplerate)
    if opened.subtype == "MPEG_LAYER_III" and opened.format not in ("MPEG", "MP3"):
        return ()  # the count of a WAV of MP3 has the decoder's delay
    return (broken_end(missing / opened.samplerate),)


def _mp3_stops_early(opened: soundfile.SoundFile, file: BinaryIO) -> bool:
    """Return whether the MP3 has no Xing header, or one that does not count to the end of the file.

    Without one libsndfile guesses the length, and it reads no more than that.
    """
    start = _after_id3v2(file)
    counts = mpeg.xing(file, start)
    if counts is None or not counts.frames or not counts.size or opened.frames <= 0:
        return True
    stated_s: float = opened.frames / opened.samplerate
    there = size_of(file) - start
    beyond_s: float = (there - counts.size - _ID3V1_BYTES) * stated_s / counts.size
    return beyond_s > TOLERANCE_S or mpeg.uncounted_s(file, start, counts.frames) > TOLERANCE_S


def _refuse_cut(name: str, there_s: float, stated_s: float) -> None:
    """Raise AudioUnreadableError if more than TOLERANCE_S of the stated length is missing."""
    if stated_s - there_s > TOLERANCE_S:
        raise AudioUnreadableError(
            f"{name}: is cut off or damaged: "
            f"it holds {there_s:.3f} s of the {stated_s:.3f} s that its header states: {ADVICE}"
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
