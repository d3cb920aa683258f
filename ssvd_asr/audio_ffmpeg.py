"""FFmpeg through PyAV: the formats a browser or a telephone sends and libsndfile cannot read.

FFmpeg knows hundreds of formats, some of which open other files or addresses (playlists, concat scripts) or
decode pictures.  Only the containers and decoders named here are ever tried, and no protocol.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import av
import numpy as np
import numpy.typing as npt

from ssvd_asr.audio_sources import BLOCK_SAMPLES, AudioSource
from ssvd_asr.errors import AudioUnreadableError

CONTAINERS = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "ogg", "aac", "amr", "asf", "wav", "flac", "caf")
DECODERS = (
    "aac", "alac", "opus", "libopus", "vorbis", "flac", "mp3", "mp3float", "amrnb", "amrwb",
    "wmav1", "wmav2", "wmapro", "ac3", "eac3", "speex",
    "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le", "pcm_s32be", "pcm_f32le", "pcm_f32be",
    "pcm_u8", "pcm_s8", "pcm_alaw", "pcm_mulaw", "adpcm_ms", "adpcm_ima_wav", "adpcm_ima_qt",
)  # fmt: skip

FloatArray = npt.NDArray[np.float32]


@contextmanager
def open_ffmpeg(file: BinaryIO, name: str) -> Iterator[AudioSource]:
    """Open the first audio stream of a container.

    Raises:
        AudioUnreadableError: with FFmpeg's reason.
    """
    options = {
        "format_whitelist": ",".join(CONTAINERS),
        "codec_whitelist": ",".join(DECODERS),
        "protocol_whitelist": "",
    }
    try:
        container = av.open(file, "r", options=options)
    except av.FFmpegError as error:
        raise AudioUnreadableError(_reason(error)) from error
    with container:
        if not container.streams.audio:
            raise AudioUnreadableError(f"no audio stream in this {container.format.long_name} file")
        stream = container.streams.audio[0]
        if stream.codec_context.codec.name not in DECODERS:
            raise AudioUnreadableError(f"codec {stream.codec_context.codec.name!r} is not one of {DECODERS}")
        yield _FfmpegSource(container.decode(stream), name)


class _FfmpegSource:
    """Headers are not believed: rate and channels are those of the first decoded frame."""

    def __init__(self, frames: Iterator[Any], name: str) -> None:
        self.name = name
        self._frames = frames
        self._first = self._next()
        if self._first is None:
            raise AudioUnreadableError("no frame could be decoded")
        self.rate_hz: int = self._first.sample_rate
        self.channels: int = self._first.layout.nb_channels
        self.end_frame = 0

    def blocks(self, start_frame: int) -> Iterator[FloatArray]:
        """Decodes and drops what lies before start_frame: container seeks are not exact to the sample."""
        pending: list[FloatArray] = []
        frame = self._first
        while frame is not None:
            samples = self._samples(frame)
            drop = max(0, start_frame - self.end_frame)
            self.end_frame += len(samples)
            if drop < len(samples):
                pending.append(samples[drop:])
            if sum(map(len, pending)) * self.channels >= BLOCK_SAMPLES:
                yield np.concatenate(pending)
                pending = []
            frame = self._next()
        if pending:
            yield np.concatenate(pending)

    def _next(self) -> Any | None:
        try:
            return next(self._frames, None)
        except av.FFmpegError as error:
            raise AudioUnreadableError(f"{self.name}: damaged: {_reason(error)}") from error

    def _samples(self, frame: Any) -> FloatArray:
        """(frames, channels) float32, full scale 1, of an av.AudioFrame."""
        channels = frame.layout.nb_channels
        if (frame.sample_rate, channels) != (self.rate_hz, self.channels):
            raise AudioUnreadableError(
                f"{self.name}: changes from {self.rate_hz} Hz, {self.channels} channels to "
                f"{frame.sample_rate} Hz, {channels} channels at {self.end_frame / self.rate_hz:.3f} s"
            )
        try:
            data = frame.to_ndarray()  # planar: (channels, frames); packed: (1, frames * channels)
        except ValueError as error:
            raise AudioUnreadableError(f"{self.name}: {error}") from error
        data = data.T if frame.format.is_planar else data.reshape(-1, channels)
        if data.dtype.kind == "u":
            return ((data.astype(np.float32) - 128) / 128).astype(np.float32)
        scale = 1.0 if data.dtype.kind == "f" else 2.0 ** (8 * data.dtype.itemsize - 1)
        return np.ascontiguousarray(data / scale, dtype=np.float32)


def _reason(error: av.FFmpegError) -> str:
    return str(error.strerror or error)
