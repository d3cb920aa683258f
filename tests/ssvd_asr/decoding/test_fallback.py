"""Loops, improbable words and silence are told from the words where there is no CTC."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ssvd_asr.decoding.fallback import better, compression, is_doubtful, is_silence, loops, mean_log_prob
from ssvd_asr.decoding.hypothesis import Hypothesis

GOOD = Hypothesis(tuple(range(9)), "he was not an ill-disposed young man", -2.0, 1.0, ended=True)


def test_plain_words_are_not_doubted() -> None:
    assert mean_log_prob(GOOD) == pytest.approx(-0.2)
    assert not is_doubtful(GOOD)
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
    assert is_doubtful(doubted)


def test_improbable_words_are_silence_only_where_no_speech_is_heard() -> None:
    improbable = replace(GOOD, score=-12.0)
    assert is_silence(improbable, 0.7)
    assert not is_silence(improbable, 0.5)


def test_a_loop_loses_to_any_words_and_otherwise_the_probable_ones_win() -> None:
    loop = replace(GOOD, text="na " * 60, score=-0.1)
    assert loops(loop)
    poor = replace(GOOD, score=-8.0)
    assert better(loop, poor) is poor
    assert better(poor, GOOD) is GOOD
    assert compression("") == 0.0
