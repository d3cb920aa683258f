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

from ssvd_asr.audio.ffmpeg import open_ffmpeg
from ssvd_asr.audio.limits import AudioLimits
from ssvd_asr.audio.source import BLOCK_SAMPLES, AudioSource, FloatArray
from ssvd_asr.audio.wholeness import (
    check_end,
    check_riff,
    check_single,
    holds_several_ogg_streams,
    stops_early,
    without_tags,
)
from ssvd_asr.errors import AudioLimitError, AudioUnreadableError

_READ_BYTES = 2**20


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
        file = stack.enter_context(_bounded_file(source, name, limits.max_bytes))
        opened = _whole_sndfile(file, name, stack)
        if isinstance(opened, str):
            check_single(file, name)
            check_riff(file, name)
            try:
                untagged = stack.enter_context(without_tags(file, name))
                opened = stack.enter_context(open_ffmpeg(untagged, name, limits))
            except AudioUnreadableError as second:
                raise AudioUnreadableError(f"{second} (and libsndfile: {opened})") from second
        yield opened


def _whole_sndfile(file: BinaryIO, name: str, stack: ExitStack) -> AudioSource | str:
    """Return the source opened by libsndfile, or the reason why libsndfile does not read all of it."""
    if holds_several_ogg_streams(file, name):
        return "Several Ogg streams in one file"
    try:
        opened = stack.enter_context(_sndfile(file))
    except soundfile.LibsndfileError as refusal:
        return _reason(refusal)
    if stops_early(opened, file, name):
        return "The header does not state the length"
    return _SndfileSource(opened, name)


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
    def __init__(self, opened: soundfile.SoundFile, name: str) -> None:
        self.name = name
        self.rate_hz: int = opened.samplerate
        self.channels: int = opened.channels
        self.warnings: tuple[str, ...] = ()
        self.end_frame = 0
        self._opened = opened

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
            while len(block := self._opened.read(frames, dtype="float32", always_2d=True)):
                self.end_frame += len(block)
                yield block
            check_end(self._opened, self.end_frame, self.name)
        except soundfile.LibsndfileError as error:
            end_s = self.end_frame / self.rate_hz
            raise AudioUnreadableError(
                f"{self.name}: cut off or damaged after {end_s:.3f} s: {_reason(error)}"
            ) from error


def _reason(error: soundfile.LibsndfileError) -> str:
    return str(error.error_string).removeprefix("Error : ").rstrip(".")
