"""Loops, improbable words and silence are told from the words where there is no CTC."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from adapters_store.packaged import PACKAGED
from ssvd_asr.audio.read import SAMPLE_RATE, read_audio
from ssvd_asr.decoding.fallback import (
    better,
    compression,
    is_doubtful,
    is_endless_loop,
    is_silence,
    loops,
    mean_log_prob,
)
from ssvd_asr.decoding.hypothesis import Hypothesis
from ssvd_asr.decoding.pace import MIN_BYTES_PER_S, Pace

GOOD = Hypothesis(tuple(range(9)), "he was not an ill-disposed young man", -2.0, 1.0, ended=True)


def test_plain_words_are_not_doubted() -> None:
    assert mean_log_prob(GOOD) == pytest.approx(-0.2)
    assert not is_doubtful(GOOD, Pace())
    assert not is_silence(GOOD, 0.99)


@pytest.mark.parametrize(
    "doubted",
    [
        replace(GOOD, text="the boat turned " * 20),
        replace(GOOD, ended=False),
        replace(GOOD, score=-12.0),
        Hypothesis((), "", -1.5, 1.0, ended=True),
    ],
    ids=["loop", "cut off", "improbable", "nothing, improbably"],
)
def test_loops_and_improbable_words_are_doubted(doubted: Hypothesis) -> None:
    assert is_doubtful(doubted, Pace())


def test_improbable_words_are_silence_only_where_no_speech_is_heard() -> None:
    improbable = replace(GOOD, score=-12.0)
    assert is_silence(improbable, 0.7)
    assert not is_silence(improbable, 0.5)


def test_a_loop_loses_to_any_words_and_otherwise_the_probable_ones_win() -> None:
    loop = replace(GOOD, text="na " * 60, score=-0.1)
    assert loops(loop)
    poor = replace(GOOD, score=-8.0)
    assert better(loop, poor, Pace()) is poor
    assert better(poor, GOOD, Pace()) is GOOD
    assert compression("") == 0.0


class Spoken(Pace):
    """So many seconds that are all speech."""

    def __init__(self, speech_s: float) -> None:
        super().__init__(np.zeros(int(speech_s * SAMPLE_RATE), np.float32))
        self.__dict__["speech_s"] = speech_s  # the cached property


def test_too_few_words_for_the_speech_are_doubted_and_none_are_where_the_speech_is_not_known() -> None:
    enough_s = len(GOOD.text) / MIN_BYTES_PER_S
    assert not is_doubtful(GOOD, Spoken(0.9 * enough_s))
    assert is_doubtful(GOOD, Spoken(1.3 * enough_s))
    assert not is_doubtful(replace(GOOD, text="yes"), Spoken(2.0))  # one slow word
    assert not Pace().lacks_words("")
    assert Pace().most_tokens is None
    assert Spoken(20.0).lacks_words("")


@pytest.mark.parametrize("text", ["5, 5, 5, 8, 2, 3, 4, 7, 1, 9.", "555 823 4719", "A B C D E F G H I J"])
def test_numbers_and_letters_that_are_read_aloud_are_words(text: str) -> None:
    assert not Spoken(8.0).lacks_words(text)
    assert Spoken(30.0).lacks_words(text)


def test_a_repetition_that_ends_and_fits_the_time_is_no_loop() -> None:
    repeated = replace(GOOD, text="agent logged off. " * 12)
    assert loops(repeated)
    assert is_endless_loop(repeated, Pace())
    assert not is_endless_loop(repeated, Spoken(12.0))
    assert is_endless_loop(repeated, Spoken(4.0))  # nobody speaks so fast
    assert is_endless_loop(replace(repeated, ended=False), Spoken(12.0))
    assert is_doubtful(repeated, Spoken(12.0))  # so another search is tried


def test_words_that_are_there_win_over_surer_ones_that_leave_speech_out() -> None:
    short = replace(GOOD, text="agent", score=-0.1)
    repeated = replace(GOOD, text="agent logged off. " * 12)
    loop = replace(repeated, ended=False, score=-0.1)
    assert better(short, repeated, Spoken(12.0)) is repeated
    assert better(short, loop, Spoken(12.0)) is short
    assert better(repeated, GOOD, Spoken(3.0)) is GOOD


def test_speech_is_counted_in_seconds() -> None:
    clip = sorted((PACKAGED / "child/samples").glob("child-test-*.opus"))[0]
    wave = read_audio(clip)
    silence = np.zeros(2 * SAMPLE_RATE, np.float32)
    alone, between = Pace(wave).speech_s, Pace(np.concatenate([silence, wave, silence])).speech_s
    assert 0.5 * len(wave) / SAMPLE_RATE < alone <= len(wave) / SAMPLE_RATE
    assert between == pytest.approx(alone, abs=0.3)
    assert Pace(silence).speech_s == 0
