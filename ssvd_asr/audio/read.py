"""Reader of audio. Every path (file, upload, manifest, command line) goes through `read_recording`.

Memory is bounded for any input, whatever its header says.  Encoded bytes are counted while they are read, and
samples while they are decoded, in blocks whose size does not depend on the file.  A call holds at most about
max_bytes (streams; paths are read in place, except MP3 files with tags inside)
+ 2 * max_duration_s * 16000 * 4 bytes + some MB.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from typing import BinaryIO, Literal

import numpy as np
import numpy.typing as npt

from ssvd_asr.audio.channels import Mixer
from ssvd_asr.audio.decoders import open_audio
from ssvd_asr.audio.levels import Levels
from ssvd_asr.audio.limits import DEFAULT_LIMITS, AudioLimits
from ssvd_asr.audio.resample import SAMPLE_RATE, Resampler
from ssvd_asr.audio.source import AudioSource
from ssvd_asr.errors import (
    AudioError,
    AudioLimitError,
    AudioTooLongError,
    AudioUnreadableError,
    ChannelError,
)

__all__ = [
    "DEFAULT_LIMITS",
    "SAMPLE_RATE",
    "AudioLimits",
    "Channel",
    "OneWave",
    "Recording",
    "parse_channel",
    "read_audio",
    "read_recording",
]

# Samples over this limit, with full scale 1, were never divided by the range of their integers.
MAX_ABS_SAMPLE = 16.0
# Manifests round their times.  A segment may overrun the end by this much; it is then shorter.
END_TOLERANCE_S = 0.1

FloatArray = npt.NDArray[np.float32]
Source = str | PathLike[str] | bytes | BinaryIO
OneWave = int | Literal["mix"]  # the number of a channel, from 0, or all channels as one
Channel = OneWave | Literal["each"]  # or each channel as a wave of its own


@dataclass(frozen=True, eq=False)
class Recording:
    """Audio as it was read.

    Attributes:
        waves: each (samples,) float32 at 16 kHz; one, or with channel "each" one for each channel.
        warnings: for each wave, sentences on what was mended or is doubtful.
        apart: whether each wave is a channel, as with channel "each".
    """

    waves: tuple[FloatArray, ...]
    warnings: tuple[tuple[str, ...], ...]
    apart: bool


def parse_channel(text: str) -> Channel:
    """Return the channel that a form or a command line names.

    Raises:
        ChannelError: it is neither a number from 0 nor `mix` or `each`.
    """
    if text == "mix":
        return "mix"
    if text == "each":
        return "each"
    if text.isascii() and text.isdigit() and len(text) <= 9:
        return int(text)
    raise ChannelError(f"channel={text!r}: use the number of one, from 0, or mix or each")


def read_audio(
    source: Source,
    limits: AudioLimits = DEFAULT_LIMITS,
    start_s: float = 0.0,
    duration_s: float | None = None,
    channel: OneWave = "mix",
) -> FloatArray:
    """Return the wave of `read_recording`: (samples,) float32 at 16 kHz. It raises what that raises."""
    return read_recording(source, limits, start_s, duration_s, channel).waves[0]


def read_recording(
    source: Source,
    limits: AudioLimits = DEFAULT_LIMITS,
    start_s: float = 0.0,
    duration_s: float | None = None,
    channel: Channel = "mix",
) -> Recording:
    """Decode audio, or a segment of it, to 16 kHz.

    libsndfile reads its formats (WAV, FLAC, Ogg Vorbis and Opus, MP3, AIFF, ...).  FFmpeg, through PyAV,
    reads the rest (m4a, webm, AAC, MPEG-TS, AVI, ...), joined files, and files that do not state their
    length, where libsndfile would stop early.  A file that lacks more than 0.1 s of its stated length raises
    an error when its end is reached, or earlier.  `channels.Mixer` mixes channels.  `levels.Levels` removes
    an offset and scales samples far over full scale.

    Args:
        source: a path, the encoded bytes, or a binary stream, which is read from its position to its end.
        limits: the limits; max_duration_s counts the segment, not what lies before it, once for each wave.
        start_s, duration_s: the segment; without duration_s it lasts to the end of the audio.
        channel: the channel to read.

    Returns:
        Waves of at least one sample, full scale 1.

    Raises:
        AudioUnreadableError: no decoder reads the source, or it is cut off, damaged, empty, not finite, far
            above full scale, or below limits.min_source_rate_hz.
        AudioTooLongError: the source exceeds the limit on seconds.
        AudioLimitError: the source exceeds a limit on bytes, channels, Hz or FFmpeg's cost.
        ChannelError: the source does not have the channel.
        AudioError: the segment is not inside the audio.
    """
    _check_segment(start_s, duration_s, limits)
    with open_audio(source, limits) as opened:
        _check_header(opened, limits)
        lanes = _lanes(opened, channel)
        for frames in _segment(opened, limits, start_s, duration_s, lanes):
            for lane in lanes:
                lane.add(frames)
        read = [lane.finish() for lane in lanes]
        return Recording(
            waves=tuple(wave for wave, _ in read),
            warnings=tuple((*opened.warnings, *warnings) for _, warnings in read),
            apart=channel == "each",
        )


class _Lane:
    """From frames of some channels to one wave."""

    def __init__(self, opened: AudioSource, channels: slice) -> None:
        self._name = opened.name
        self._rate_hz = opened.rate_hz
        self.channels = channels
        count = len(range(opened.channels)[channels])
        self._mixer = Mixer(count, opened.rate_hz) if count > 1 else None
        self._levels = Levels()
        self._resampler = Resampler(opened.rate_hz)

    def add(self, frames: FloatArray) -> None:
        """Add (frames, channels) of all channels of the file."""
        own = frames[:, self.channels]
        self._levels.add(own)
        self._resampler.add(self._mixer.add(own) if self._mixer else own[:, 0])

    def finish(self) -> tuple[FloatArray, tuple[str, ...]]:
        """Return the wave, and sentences on it."""
        if self._mixer is None:
            return self._levels.mended(self._resampler.finish())
        self._resampler.add(self._mixer.finish())
        wave = self._resampler.finish()
        if self._mixer.gain != 1:
            wave = wave * np.float32(self._mixer.gain)
        wave, warnings = self._levels.mended(wave)
        return wave, (*self._mixer.warnings, *warnings)


def _lanes(opened: AudioSource, channel: Channel) -> list[_Lane]:
    """Return the lanes that the channel asks for. Raises ChannelError if the file has no such channel."""
    if channel == "mix":
        return [_Lane(opened, slice(None))]
    if channel == "each":
        return [_Lane(opened, slice(index, index + 1)) for index in range(opened.channels)]
    if not 0 <= channel < opened.channels:
        has = f"{opened.channels} channels" if opened.channels > 1 else "one channel"
        raise ChannelError(
            f"{opened.name}: has no channel {channel}: it has {has}, and channels are numbered from 0"
        )
    return [_Lane(opened, slice(channel, channel + 1))]


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
        raise AudioLimitError(
            f"{opened.name}: {opened.channels} channels, the limit is {limits.max_channels} (max_channels)"
        )
    if opened.rate_hz > limits.max_source_rate_hz:
        raise AudioLimitError(
            f"{opened.name}: sampled at {opened.rate_hz} Hz, "
            f"the limit is {limits.max_source_rate_hz} Hz (max_source_rate_hz)"
        )
    if opened.rate_hz < limits.min_source_rate_hz:
        raise AudioUnreadableError(
            f"{opened.name}: sampled at {opened.rate_hz} Hz, "
            f"speech needs at least {limits.min_source_rate_hz} Hz (min_source_rate_hz)"
        )


def _segment(
    opened: AudioSource,
    limits: AudioLimits,
    start_s: float,
    duration_s: float | None,
    lanes: list[_Lane],
) -> Iterator[FloatArray]:
    """Yield the segment's frames of all channels at the source's rate, and check what the lanes take."""
    rate = opened.rate_hz
    start = round(start_s * rate)
    wanted = None if duration_s is None else max(1, round(duration_s * rate))
    allowed = math.floor(limits.max_duration_s / len(lanes) * rate)
    count = 0
    for frames in opened.blocks(start):
        if wanted is not None:
            frames = frames[: wanted - count]
        for lane in lanes:
            _check_samples(frames[:, lane.channels], opened.name, start + count, rate)
        count += len(frames)
        if count > allowed:
            each = "" if len(lanes) == 1 else f", which its {len(lanes)} channels share"
            raise AudioTooLongError(
                f"{opened.name}: longer than the limit of {limits.max_duration_s} s (max_duration_s){each}"
            )
        yield frames
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


def _check_samples(frames: FloatArray, name: str, position: int, rate: int) -> None:
    """Raise AudioUnreadableError if a sample of (frames, channels) is not finite or over MAX_ABS_SAMPLE."""
    bad = ~(np.abs(frames) <= MAX_ABS_SAMPLE).all(axis=1)  # the comparison is false for NaN
    if bad.any():
        first = int(bad.argmax())
        raise AudioUnreadableError(
            f"{name}: the sample at {(position + first) / rate:.4f} s is {frames[first].tolist()}, "
            f"not finite or over {MAX_ABS_SAMPLE:.0f} times full scale; float samples lie between -1 and 1"
        )
