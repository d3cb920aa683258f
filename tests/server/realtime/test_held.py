"""The buffer of a session is its audio, whatever the number of events that bring it."""

from __future__ import annotations

import numpy as np

from server.realtime.held import HeldAudio
from ssvd_asr.audio.read import SAMPLE_RATE
from tests.speechlike import babble


def test_audio_in_tiny_pieces_is_the_same_audio() -> None:
    wave = babble(2.5)
    held = HeldAudio()
    for at in range(0, len(wave), 7):
        held.add(wave[at : at + 7])
        held.add(wave[:0])
    assert len(held) == len(wave)
    assert np.array_equal(held.wave, wave)


def test_what_was_taken_does_not_change_when_more_comes() -> None:
    held = HeldAudio()
    held.add(np.ones(SAMPLE_RATE, np.float32))
    taken = held.wave
    held.add(np.zeros(SAMPLE_RATE, np.float32))
    assert taken.sum() == SAMPLE_RATE
