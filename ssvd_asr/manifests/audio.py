"""Reader of the audio of one utterance."""

from __future__ import annotations

from pathlib import Path

from ssvd_asr.audio.read import (
    END_TOLERANCE_S,
    SAMPLE_RATE,
    AudioLimits,
    Channel,
    FloatArray,
    Recording,
    read_recording,
)
from ssvd_asr.errors import AudioError, ChannelError
from ssvd_asr.manifests.packed import packed_bytes
from ssvd_asr.manifests.sources import shown
from ssvd_asr.manifests.utterances import PackedAudio, Utterance


def why_missing(audio: Path | PackedAudio) -> str | None:
    """Return why an audio file is not there, or None. Its content is not looked at."""
    try:
        audio.stat()
    except (FileNotFoundError, NotADirectoryError):
        return f"{audio} does not exist"
    except (
        OSError,
        ValueError,
    ) as error:  # its folder may not be entered, its name is too long, links in a circle
        return f"{shown(str(audio))}: {getattr(error, 'strerror', error)}"
    return None


def read_utterance(utterance: Utterance, limits: AudioLimits) -> FloatArray:
    """Return (samples,) float32 at 16 kHz. Raises as `read_section`."""
    return read_section(utterance, limits).waves[0]


def read_section(utterance: Utterance, limits: AudioLimits, channel: Channel = "mix") -> Recording:
    """Return the section of a recording that an utterance is.

    Args:
        channel: what is read where the utterance names no channel.

    Raises:
        AudioTooLongError: the section is longer than the limits allow.
        ChannelError: the file does not have the channel, or `channel` and the utterance's differ.
        AudioError: the file cannot be read, the section is outside it, or it is not as long as stated.
    """
    if utterance.channel != "mix":
        if channel not in ("mix", utterance.channel):
            raise ChannelError(f"channel={channel} is asked for, its entry names channel {utterance.channel}")
        channel = utterance.channel
    source = utterance.audio if isinstance(utterance.audio, Path) else packed_bytes(utterance.audio)
    recording = read_recording(source, limits, utterance.start_s, utterance.duration_s, channel)
    if utterance.file_s is not None:
        read_s = len(recording.waves[0]) / SAMPLE_RATE
        if abs(read_s - utterance.file_s) > END_TOLERANCE_S:
            raise AudioError(
                f"{utterance.audio} lasts {read_s:.3f} s, its entry says {utterance.file_s} s; "
                'a part of a file needs "offset" too'
            )
    return recording
