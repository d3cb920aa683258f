"""Decoders of audio files: libsndfile, and FFmpeg for what libsndfile refuses or would read in part.

Both give an `AudioSource`.  This module limits what is read and allocated while decoding; ssvd_asr.audio.read
limits what is decoded.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from os import PathLike
from typing import BinaryIO

import soundfile

from ssvd_asr.audio import amr, mpeg
from ssvd_asr.audio.content import as_decoded
from ssvd_asr.audio.ffmpeg import open_ffmpeg
from ssvd_asr.audio.limits import AudioLimits
from ssvd_asr.audio.ogg import OggPages, read_pages
from ssvd_asr.audio.source import BLOCK_SAMPLES, AudioSource, FloatArray
from ssvd_asr.audio.wholeness import (
    check_end,
    check_riff,
    content_of,
    stops_early,
    without_tags,
)
from ssvd_asr.errors import AudioLimitError, AudioUnreadableError

_READ_BYTES = 2**20
# libsndfile reads more, but a cut file of another format looks like a whole one, or the format has no rate.
_FORMATS = ("WAV", "WAVEX", "W64", "RF64", "FLAC", "OGG", "MPEG", "MP3", "AIFF", "AU", "CAF", "NIST", "HTK")


@contextmanager
def open_audio(source: str | PathLike[str] | bytes | BinaryIO, limits: AudioLimits) -> Iterator[AudioSource]:
    """Open a source with the first decoder that reads all of it.

    Raises:
        AudioLimitError: the source has more than limits.max_bytes, or FFmpeg exceeds its limits.
        AudioUnreadableError: the path is not a readable regular file, no decoder reads the source, or the
            source is cut off.
    """
    name = os.fspath(source) if isinstance(source, str | PathLike) else "audio"
    with ExitStack() as stack:
        whole = stack.enter_context(_bounded_file(source, name, limits.max_bytes))
        if whole.seek(0, os.SEEK_END) == 0:
            raise AudioUnreadableError(f"{name}: is empty: it has 0 bytes")
        whole.seek(0)
        file = stack.enter_context(as_decoded(whole, content_of(whole, name)))
        pages = read_pages(file, name)
        opened = _whole_sndfile(file, name, pages, stack)
        if isinstance(opened, str):
            try:
                opened = _whole_ffmpeg(file, name, limits, stack)
            except AudioUnreadableError as second:
                raise AudioUnreadableError(f"{second} (and libsndfile: {opened})") from second
        if pages is not None:
            opened.warnings += pages.warnings
        yield opened


def _whole_sndfile(file: BinaryIO, name: str, pages: OggPages | None, stack: ExitStack) -> AudioSource | str:
    """Return the source opened by libsndfile, or the reason why libsndfile does not read all of it."""
    if pages is not None and pages.streams > 1:
        return "Several Ogg streams in one file"
    try:
        opened = stack.enter_context(_sndfile(file))
    except soundfile.LibsndfileError as refusal:
        return _reason(refusal)
    if opened.format == "SD2":  # known by a resource fork of any file in the working directory, as "._"
        return "Format not recognised"
    if opened.format not in _FORMATS:
        raise AudioUnreadableError(
            f"{name}: {opened.format} files are not read, as one that is cut off looks whole: "
            "convert it to WAV or FLAC"
        )
    if stops_early(opened, file, name):
        return "The header does not state the length"
    return _SndfileSource(opened, file, name)


def _whole_ffmpeg(file: BinaryIO, name: str, limits: AudioLimits, stack: ExitStack) -> AudioSource:
    check_riff(file, name)
    untagged = stack.enter_context(without_tags(file, name))
    opened = stack.enter_context(open_ffmpeg(untagged, name, limits))
    if opened.container == "mp3":  # also of MP2 and MP1
        opened.warnings += mpeg.check_frames(untagged, name)
    elif opened.container == "amr":
        amr.check_frames(untagged, name)
    return opened


def _bounded_file(source: str | PathLike[str] | bytes | BinaryIO, name: str, max_bytes: int) -> BinaryIO:
    """Return a seekable file of at most max_bytes.

    A stream is copied into memory first, because the decoders' callbacks hide read errors.
    """
    if isinstance(source, str | PathLike):
        return _regular_file(name, max_bytes)
    if isinstance(source, bytes | bytearray | memoryview):
        if len(source) > max_bytes:
            raise AudioLimitError(f"{name}: {len(source)} bytes, the limit is {max_bytes} (max_bytes)")
        return io.BytesIO(source)
    copy = io.BytesIO()
    while chunk := source.read(_READ_BYTES):
        if copy.tell() + len(chunk) > max_bytes:
            raise AudioLimitError(f"{name}: more than the limit of {max_bytes} bytes (max_bytes)")
        copy.write(chunk)
    copy.seek(0)
    return copy


def _regular_file(path: str, max_bytes: int) -> BinaryIO:
    try:
        status = os.stat(path)
        # Opening a pipe would wait for its writer, and reading a device might never end.
        if not stat.S_ISREG(status.st_mode):
            raise AudioUnreadableError(f"{path}: not a regular file")
        if status.st_size > max_bytes:
            raise AudioLimitError(f"{path}: {status.st_size} bytes, the limit is {max_bytes} (max_bytes)")
        return open(path, "rb")
    except OSError as error:
        raise AudioUnreadableError(f"{path}: {error.strerror or error}") from error


class _SequentialSoundFile(soundfile.SoundFile):  # type: ignore[misc]  # soundfile is untyped for mypy here
    """SoundFile that never seeks between blocks.

    Seeking loses the bit reservoir of an MP3, which changes its samples.
    """

    def seekable(self) -> bool:
        return False


@contextmanager
def _sndfile(file: BinaryIO) -> Iterator[soundfile.SoundFile]:
    # Open by descriptor: given a path, libsndfile guesses headerless formats from the file's name.
    handle = file if isinstance(file, io.BytesIO) else file.fileno()
    with _SequentialSoundFile(handle, closefd=False) as opened:
        yield opened


class _SndfileSource:
    def __init__(self, opened: soundfile.SoundFile, file: BinaryIO, name: str) -> None:
        self.name = name
        self.rate_hz: int = opened.samplerate
        self.channels: int = opened.channels
        self.warnings: tuple[str, ...] = ()
        self.end_frame = 0
        self._opened = opened
        self._file = file

    def blocks(self, start_frame: int) -> Iterator[FloatArray]:
        frames = max(1, BLOCK_SAMPLES // self.channels)
        try:
            # The header's length is trusted to refuse a start, but never to allocate memory.
            if start_frame >= self._opened.frames:
                self.end_frame = self._opened.frames
                return
            if start_frame:
                self._opened.seek(start_frame)
            self.end_frame = start_frame
            # No frame more than the header states: asked for more, libsndfile would read on and drop them.
            while (wanted := min(frames, self._opened.frames - self.end_frame)) > 0:
                block = self._opened.read(wanted, dtype="float32", always_2d=True)
                if not len(block):
                    break
                self.end_frame += len(block)
                yield block
            self.warnings += check_end(self._opened, self._file, self.end_frame, self.name)
        except soundfile.LibsndfileError as error:
            end_s = self.end_frame / self.rate_hz
            raise AudioUnreadableError(
                f"{self.name}: cut off or damaged after {end_s:.3f} s: {_reason(error)}"
            ) from error


def _reason(error: soundfile.LibsndfileError) -> str:
    return str(error.error_string).removeprefix("Error : ").rstrip(".")
