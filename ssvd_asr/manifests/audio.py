"""Reader of the audio of one utterance."""

from __future__ import annotations

from pathlib import Path

from ssvd_asr.audio.read import END_TOLERANCE_S, SAMPLE_RATE, AudioLimits, FloatArray, read_audio
from ssvd_asr.errors import AudioError
from ssvd_asr.manifests.packed import packed_bytes
from ssvd_asr.manifests.utterances import Utterance


def read_utterance(utterance: Utterance, limits: AudioLimits) -> FloatArray:
    """Return (samples,) float32 at 16 kHz.

    Raises:
        AudioTooLongError: the section is longer than the limits allow.
        AudioError: the file cannot be read, the section is outside it, or it is not as long as stated.
    """
    source = utterance.audio if isinstance(utterance.audio, Path) else packed_bytes(utterance.audio)
    wave = read_audio(source, limits, start_s=utterance.start_s, duration_s=utterance.duration_s)
    if utterance.file_s is not None:
        read_s = len(wave) / SAMPLE_RATE
        if abs(read_s - utterance.file_s) > END_TOLERANCE_S:
            raise AudioError(
                f"{utterance.audio} lasts {read_s:.3f} s, its entry says {utterance.file_s} s; "
                'a part of a file needs "offset" too'
            )
    return wave
