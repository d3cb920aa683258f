"""Reader of the audio of one utterance."""

from __future__ import annotations

from ssvd_asr.audio.read import END_TOLERANCE_S, SAMPLE_RATE, AudioLimits, read_audio
from ssvd_asr.errors import AudioError
from training.corpus.prompts import FloatArray
from training.corpus.utterances import Utterance


def read_utterance(utterance: Utterance, limits: AudioLimits) -> FloatArray:
    """Return (samples,) float32 at 16 kHz.

    Raises:
        AudioTooLongError: the section is longer than the limits allow.
        ChannelError: the file does not have the channel.
        AudioError: the file cannot be read, the section is outside it, or it is not as long as stated.
    """
    wave = read_audio(
        utterance.audio, limits, utterance.start_s, utterance.duration_s, channel=utterance.channel
    )
    if utterance.file_s is not None:
        read_s = len(wave) / SAMPLE_RATE
        if abs(read_s - utterance.file_s) > END_TOLERANCE_S:
            raise AudioError(
                f"{utterance.audio} lasts {read_s:.3f} s, its entry says {utterance.file_s} s; "
                'a part of a file needs "offset" too'
            )
    return wave
