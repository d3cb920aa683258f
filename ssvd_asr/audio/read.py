"""Reader of audio. Every path (file, upload, manifest, command line) goes through `read_audio`.

Memory is bounded for any input, whatever its header says.  Encoded bytes are counted while they are read, and
samples while they are decoded, in blocks whose size does not depend on the file.  A call holds at most about
max_bytes (streams; paths are read in place, except MP3 files with tags inside)
+ 2 * max_duration_s * 16000 * 4 bytes + some MB.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from os import PathLike
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

# soxr instead of torchaudio's resample: it works block by block, so a decompression bomb is never held whole,
# and at any ratio. It does not import torch, which takes 3 s.
import soxr

from ssvd_asr.audio.decoders import open_audio
from ssvd_asr.audio.limits import DEFAULT_LIMITS, AudioLimits
from ssvd_asr.audio.source import AudioSource
from ssvd_asr.errors import AudioError, AudioTooLongError, AudioUnreadableError

__all__ = ["DEFAULT_LIMITS", "SAMPLE_RATE", "AudioLimits", "read_audio"]

SAMPLE_RATE = 16_000  # Hz; the input rate of every OWSM
# Full scale is 1.  A float recorder or a lossy codec exceeds it a little.  Samples over this limit were never
# divided by the range of their integers.
MAX_ABS_SAMPLE = 16.0
# Manifests round their times.  A segment may overrun the end by this much; it is then shorter.
END_TOLERANCE_S = 0.1

FloatArray = npt.NDArray[np.float32]


def read_audio(
    source: str | PathLike[str] | bytes | BinaryIO,
    limits: AudioLimits = DEFAULT_LIMITS,
    start_s: float = 0.0,
    duration_s: float | None = None,
) -> FloatArray:
    """Decode audio, or a segment of it, to mono 16 kHz.

    libsndfile reads its formats (WAV, FLAC, Ogg Vorbis and Opus, MP3, AIFF, ...); the rest goes to FFmpeg
    through PyAV (m4a, webm, AAC, AMR, WMA).  FFmpeg also reads joined files, and files that do not state
    their length, where libsndfile would stop early.  Channels are averaged.  A file that lacks more than
    0.1 s of its stated length raises an error when its end is reached, or earlier.

    Args:
        source: a path, the encoded bytes, or a binary stream, which is read from its position to its end.
        limits: the limits; max_duration_s counts the segment, not what lies before it.
        start_s, duration_s: the segment; without duration_s it lasts to the end of the audio.

    Returns:
        (samples,) float32 at 16 kHz, at least one sample, full scale 1.

    Raises:
        AudioUnreadableError: no decoder reads the source, or it is cut off, damaged, empty, not finite, far
            above full scale, or below limits.min_source_rate_hz.
        AudioTooLongError: the source exceeds a limit on bytes, seconds, channels, Hz or FFmpeg's cost.
        AudioError: the segment is not inside the audio.
    """
    _check_segment(start_s, duration_s, limits)
    with open_audio(source, limits) as opened:
        _check_header(opened, limits)
        resampler = _Resampler(opened.rate_hz)
        for mono in _segment(opened, limits, start_s, duration_s):
            resampler.add(mono)
        return resampler.finish()


def _check_segment(start_s: float, duration_s: float | None, limits: AudioLimits) -> None:
    if not (math.isfinite(start_s) and start_s >= 0):
        raise AudioError(f"start_s={start_s}: must be 0 or more")
    if duration_s is None:
        return
    if not (math.isfinite(duration_s) and duration_s > 0):
        raise AudioError(f"duration_s={duration_s}: must be more than 0")
    if duration_s > limits.max_duration_s:
        raise AudioTooLongError(
            f"duration_s={duration_s} is over the limit of {limits.max_duration_s} s (max_duration_s)"
        )


def _check_header(opened: AudioSource, limits: AudioLimits) -> None:
    if opened.channels > limits.max_channels:
        raise AudioTooLongError(
            f"{opened.name}: {opened.channels} channels, the limit is {limits.max_channels} (max_channels)"
        )
    if opened.rate_hz > limits.max_source_rate_hz:
        raise AudioTooLongError(
            f"{opened.name}: sampled at {opened.rate_hz} Hz, "
            f"the limit is {limits.max_source_rate_hz} Hz (max_source_rate_hz)"
        )
    if opened.rate_hz < limits.min_source_rate_hz:
        raise AudioUnreadableError(
            f"{opened.name}: sampled at {opened.rate_hz} Hz, "
            f"speech needs at least {limits.min_source_rate_hz} Hz (min_source_rate_hz)"
        )


def _segment(
    opened: AudioSource, limits: AudioLimits, start_s: float, duration_s: float | None
) -> Iterator[FloatArray]:
    """Yield the segment's mono blocks at the source's rate, and check its length."""
    rate = opened.rate_hz
    start = round(start_s * rate)
    wanted = None if duration_s is None else max(1, round(duration_s * rate))
    allowed = math.floor(limits.max_duration_s * rate)
    count = 0
    for block in opened.blocks(start):
        mono = _mono(block, opened.name, start + count, rate)
        if wanted is not None:
            mono = mono[: wanted - count]
        count += len(mono)
        if count > allowed:
            raise AudioTooLongError(
                f"{opened.name}: longer than the limit of {limits.max_duration_s} s (max_duration_s)"
            )
        yield mono
        if count == wanted:
            return
    end_s = opened.end_frame / rate
    if count == 0 and start == 0:
        raise AudioUnreadableError(f"{opened.name}: holds no samples")
    if count == 0:
        raise AudioError(f"{opened.name}: start_s={start_s} is beyond the end, the audio lasts {end_s:.3f} s")
    if wanted is not None and wanted - count > END_TOLERANCE_S * rate:
        raise AudioError(
            f"{opened.name}: start_s={start_s} with duration_s={duration_s} runs beyond the end, "
            f"the audio lasts {end_s:.3f} s"
        )


def _mono(block: FloatArray, name: str, position: int, rate: int) -> FloatArray:
    """Average (frames, channels) to (frames,).

    Raises:
        AudioUnreadableError: a sample is not finite or is over MAX_ABS_SAMPLE.
    """
    bad = ~(np.abs(block) <= MAX_ABS_SAMPLE).all(axis=1)  # the comparison is false for NaN
    if bad.any():
        first = int(bad.argmax())
        raise AudioUnreadableError(
            f"{name}: the sample at {(position + first) / rate:.4f} s is {block[first].tolist()}, "
            f"not finite or over {MAX_ABS_SAMPLE:.0f} times full scale; float samples lie between -1 and 1"
        )
    mono: FloatArray = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1, dtype=np.float32)
    return mono


class _Resampler:
    """Resampler of blocks at any rate to one 16 kHz array."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._frames = 0
        self._blocks: list[FloatArray] = []
        self._stream = None if rate_hz == SAMPLE_RATE else soxr.ResampleStream(rate_hz, SAMPLE_RATE, 1)

    def add(self, mono: FloatArray) -> None:
        self._frames += len(mono)
        self._blocks.append(self._convert(mono, last=False))

    def finish(self) -> FloatArray:
        self._blocks.append(self._convert(np.empty(0, np.float32), last=True))
        wave = np.concatenate(self._blocks)
        # soxr may end a sample early or late, but times are derived from a length of 16000 * seconds.
        length = max(1, round(self._frames * SAMPLE_RATE / self._rate_hz))
        if len(wave) < length:
            wave = np.pad(wave, (0, length - len(wave)))
        return wave[:length]

    def _convert(self, mono: FloatArray, *, last: bool) -> FloatArray:
        if self._stream is None:
            return mono.copy()  # the decoder may reuse its buffer
        out: FloatArray = self._stream.resample_chunk(np.ascontiguousarray(mono), last=last)
        return out
