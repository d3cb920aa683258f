"""Turns are found where speech is, whatever the size of the blocks in which audio comes."""

from __future__ import annotations

import numpy as np
import pytest

from server.realtime.turns import Started, Stopped, TurnDetector, TurnRule
from ssvd_asr.audio.read import SAMPLE_RATE
from tests.speechlike import babble

NOTHING = np.zeros(0, np.float32)


def silence(seconds: float) -> np.ndarray:
    return np.zeros(int(seconds * SAMPLE_RATE), np.float32)


WAVE = np.concatenate([silence(1.0), babble(2.0), silence(1.0), babble(1.5), silence(1.0)])


def turns(detector: TurnDetector, wave: np.ndarray, block: int) -> list[Started | Stopped]:
    return [each for at in range(0, len(wave), block) for each in detector.hear(wave[at : at + block])]


@pytest.mark.parametrize("block", [160, 1000, 4096, len(WAVE)])
def test_blocks_of_any_size_give_the_same_turns(block: int) -> None:
    found = turns(TurnDetector(TurnRule(), 60), WAVE, block)
    assert [type(each) for each in found] == [Started, Stopped] * 2
    whole = turns(TurnDetector(TurnRule(), 60), WAVE, 512)
    assert [each.at for each in found] == [each.at for each in whole]
    for one, other in zip(found, whole, strict=True):
        if isinstance(one, Stopped) and isinstance(other, Stopped):
            assert np.array_equal(one.wave, other.wave)


def test_a_turn_is_the_audio_between_its_times() -> None:
    first, last = turns(TurnDetector(TurnRule(), 60), WAVE, 1600)[:2]
    assert isinstance(last, Stopped)
    assert np.array_equal(last.wave, WAVE[first.at : last.at])
    assert 0.5 * SAMPLE_RATE < first.at < 1.1 * SAMPLE_RATE
    assert not last.cut


def test_a_longer_silence_joins_and_a_longer_prefix_begins_earlier() -> None:
    joined = turns(TurnDetector(TurnRule(silence_s=1.5), 60), WAVE, 1600)
    assert [type(each) for each in joined] == [Started]
    near = turns(TurnDetector(TurnRule(prefix_s=0.1), 60), WAVE, 1600)[0].at
    far = turns(TurnDetector(TurnRule(prefix_s=0.6), 60), WAVE, 1600)[0].at
    assert 0.4 * SAMPLE_RATE < near - far < 0.6 * SAMPLE_RATE


def test_a_turn_that_is_too_long_ends_and_the_next_begins() -> None:
    found = turns(TurnDetector(TurnRule(), 1.0), babble(3.5), 1600)
    stopped = [each for each in found if isinstance(each, Stopped)]
    assert len(stopped) == 3
    assert all(each.cut and len(each.wave) <= SAMPLE_RATE + 512 for each in stopped)


def test_silence_is_no_turn_and_little_of_it_is_kept() -> None:
    detector = TurnDetector(TurnRule(), 60)
    assert turns(detector, silence(30), 1600) == []
    assert len(detector.end(NOTHING)) < SAMPLE_RATE


def test_the_end_gives_the_open_turn_to_the_last_sample() -> None:
    detector = TurnDetector(TurnRule(), 60)
    wave = babble(1.03)
    (started,) = turns(detector, wave, 700)
    assert np.array_equal(detector.end(NOTHING), wave[started.at :])
    assert not detector.speaking


def test_times_go_on_after_an_end_with_what_it_was_given() -> None:
    detector = TurnDetector(TurnRule(), 60)
    assert turns(detector, silence(1.0), 1600) == []
    assert len(detector.end(silence(0.5))) <= SAMPLE_RATE
    plain = turns(TurnDetector(TurnRule(), 60), WAVE, 1600)[0].at
    assert abs(turns(detector, WAVE, 1600)[0].at - plain - 1.5 * SAMPLE_RATE) <= 2 * 512
