"""FFmpeg decoder for browser and telephone formats that libsndfile cannot read, run in a child process.

FFmpeg trusts counts in headers and has no setting against that: a 2.5 kB m4a whose sample table claims
30 million entries costs it 1 GiB (measured).  The child (ffmpeg_child.py, through PyAV) therefore runs under
the operating system's limits.  A crash in a decoder ends the child, not the server.  The child costs about
0.15 s a file.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, BinaryIO

import numpy as np

from ssvd_asr.audio.ffmpeg_child import EXIT_MEMORY, EXIT_UNREADABLE
from ssvd_asr.audio.limits import AudioLimits
from ssvd_asr.audio.source import BLOCK_SAMPLES, FloatArray
from ssvd_asr.errors import AudioError, AudioLimitError, AudioUnreadableError

# The child imports from where this process does; -P keeps its working directory out of that.
_CHILD = (
    "import json, sys; sys.path = json.loads(sys.argv[1]); "
    "from ssvd_asr.audio.ffmpeg_child import main; sys.exit(main(int(sys.argv[2]), int(sys.argv[3])))"
)
_HEADER_BYTES = 1_000
_FLOAT_BYTES = np.dtype(np.float32).itemsize


@contextmanager
def open_ffmpeg(file: BinaryIO, name: str, limits: AudioLimits) -> Iterator[FfmpegSource]:
    """Start the child on a seekable file and read its header.

    Raises:
        AudioUnreadableError: FFmpeg cannot read the file; the message gives its reason.
        AudioLimitError: the child needs more memory or CPU time than the limits allow.
    """
    with _on_disk(file) as descriptor:
        # Rewind the descriptor itself: libsndfile moved it, and a buffered seek may not touch it.
        os.lseek(descriptor.fileno(), 0, os.SEEK_SET)
        bounds = [str(limits.max_decoder_bytes), str(limits.max_decoder_cpu_s)]
        command = [sys.executable, "-P", "-c", _CHILD, json.dumps(sys.path), *bounds]
        child = subprocess.Popen(command, stdin=descriptor, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with child:  # closes the pipes and waits
        try:
            yield FfmpegSource(child, name, limits)
        finally:
            child.kill()  # the caller may not want the rest


@contextmanager
def _on_disk(file: BinaryIO) -> Iterator[IO[bytes]]:
    """Yield a file with a descriptor for the child. FFmpeg seeks, so a pipe does not work."""
    if not isinstance(file, io.BytesIO):
        yield file
        return
    with tempfile.TemporaryFile() as copy:
        copy.write(file.getbuffer())
        copy.flush()
        yield copy


class FfmpegSource:
    """AudioSource that a child decodes. `container` is FFmpeg's name of the format."""

    def __init__(self, child: subprocess.Popen[bytes], name: str, limits: AudioLimits) -> None:
        self.name = name
        self.end_frame = 0
        self._child = child
        self._limits = limits
        header = self._stdout.readline(_HEADER_BYTES)
        if not header.endswith(b"\n"):
            raise self._failure()
        fields = json.loads(header)
        self.rate_hz = int(fields["rate_hz"])
        self.channels = int(fields["channels"])
        self.container = str(fields["container"])
        self.warnings = _track_warning(int(fields["track"]), int(fields["tracks"]))

    def blocks(self, start_frame: int) -> Iterator[FloatArray]:
        """Yield blocks from start_frame on.

        Earlier frames are decoded and dropped, because container seeks are not exact to the sample.
        """
        frame_bytes = self.channels * _FLOAT_BYTES
        block_bytes = max(1, BLOCK_SAMPLES // self.channels) * frame_bytes
        while data := self._stdout.read(block_bytes):
            whole = len(data) // frame_bytes * frame_bytes  # drops a partial frame of a stopped child
            block = np.frombuffer(data[:whole], dtype=np.float32).reshape(-1, self.channels)
            drop = max(0, start_frame - self.end_frame)
            self.end_frame += len(block)
            if drop < len(block):
                yield block[drop:]
        if self._child.wait() != 0:
            raise self._failure()
        assert self._child.stderr is not None
        self.warnings += _told(json.loads(self._child.stderr.read()))

    @property
    def _stdout(self) -> IO[bytes]:
        assert self._child.stdout is not None
        return self._child.stdout

    def _failure(self) -> AudioError:
        """Return the error that the child reported, or the one that its exit status implies."""
        assert self._child.stderr is not None
        self._stdout.close()  # ends a child that is still writing
        status = self._child.wait()
        words = self._child.stderr.read().decode("utf-8", "replace")
        if status == EXIT_UNREADABLE:
            return AudioUnreadableError(f"{self.name}: {words}")
        if status in (-signal.SIGXCPU, -signal.SIGKILL):
            return AudioLimitError(
                f"{self.name}: FFmpeg needs more than the limit of {self._limits.max_decoder_cpu_s} s "
                "(max_decoder_cpu_s)"
            )
        # Much of FFmpeg crashes when an allocation is refused, so a crash gets nearly the same message.
        how = "needs more than" if status == EXIT_MEMORY else f"ended with status {status} within"
        return AudioLimitError(
            f"{self.name}: FFmpeg {how} the limit of {self._limits.max_decoder_bytes} bytes "
            f"(max_decoder_bytes) {words}".rstrip()
        )


def _told(trailer: dict[str, float]) -> tuple[str, ...]:
    """Return sentences on silence that the child wrote, from its last words."""
    found = []
    if trailer["gaps"]:
        places = "one place" if trailer["gaps"] == 1 else f"{trailer['gaps']} places"
        found.append(
            f"The file's timestamps leave out {trailer['gap_s']:.1f} s in {places}: silence was put there"
        )
    if trailer["pauses_s"]:
        found.append(f"The file marks {trailer['pauses_s']:.1f} s as pauses: they were read as silence")
    return tuple(found)


def _track_warning(track: int, tracks: int) -> tuple[str, ...]:
    """Return a sentence on which audio track was read, from its number from 0, if the file has several."""
    if tracks == 1:
        return ()
    why = ": those before it are silent" if track else ""
    return (f"Of the {tracks} audio tracks of the file, number {track + 1} was read{why}",)
