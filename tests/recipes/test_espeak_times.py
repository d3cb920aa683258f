"""Word times against espeak-ng's word events: which words are compared, and what their events mean."""

from __future__ import annotations

import shutil

import pytest

from recipes.espeak.speak import SAMPLE_RATE, speak, utterance
from recipes.espeak.times import Comparison
from recipes.espeak.word_events import word_starts_s
from ssvd_asr.decoding.align import TimedWord
from ssvd_asr.decoding.hypothesis import Hypothesis
from ssvd_asr.transcription import Transcript

needs_espeak = pytest.mark.skipif(
    shutil.which("espeak-ng") is None, reason="needs espeak-ng: apt-get install espeak-ng"
)


def transcript(*words: tuple[str, float | None]) -> Transcript:
    timed = tuple(TimedWord(word, (0,), start_s, start_s) for word, start_s in words)
    text = " ".join(word for word, _ in words)
    return Transcript(text, Hypothesis((), text, 0.0, 0.0, True), "greedy", 0.0, timed)


def test_every_word_is_compared_merged_missed_or_untimed() -> None:
    found = Comparison()
    heard = transcript(("a", 0.1), ("red", 0.4), ("fox", None), ("ran", 1.25))
    found.add("a red fox also ran", [0.0, None, 0.6, 0.8, 1.2], heard)
    assert found.errors_ms == pytest.approx([100.0, 50.0])
    assert (found.words, found.merged, found.missed, found.untimed) == (5, 1, 1, 1)


def test_a_word_said_twice_and_understood_once_is_not_compared() -> None:
    found = Comparison()
    found.add("the fox fox ran", [0.0, 0.3, 0.6, 0.9], transcript(("the", 0.0), ("fox", 0.6), ("ran", 0.9)))
    assert (len(found.errors_ms), found.missed) == (2, 2)
    twice = transcript(("the", 0.0), ("fox", 0.3), ("fox", 0.6), ("ran", 0.9))
    found.add("the fox fox ran", [0.0, 0.3, 0.6, 0.9], twice)
    assert len(found.errors_ms) == 6


@needs_espeak
@pytest.mark.parametrize("domain", ["adult", "child", "scottish"])
def test_words_start_in_order_within_what_is_spoken(domain: str) -> None:
    for index in range(5):
        text, speaker = utterance(domain, "test", index)
        starts = word_starts_s(text, domain, speaker)
        assert len(starts) == len(text.split())
        known = [start for start in starts if start is not None]
        assert known[0] == 0.0
        assert known == sorted(set(known))
        assert known[-1] < len(speak(text, domain, speaker)) / SAMPLE_RATE
