"""Segments end at pauses and sentence ends, and never last longer than 30 s."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from server.engine.messages import TextSegment
from server.engine.segments import MAX_SEGMENT_S, in_order, no_speech_prob, segments_of
from ssvd_asr.decoding.align import TimedWord, shifted


def words(*given: tuple[str, float, float]) -> list[TimedWord]:
    return [
        TimedWord(word, (place,), start_s, end_s, 0.5) for place, (word, start_s, end_s) in enumerate(given)
    ]


def test_a_segment_ends_at_a_pause_and_after_a_sentence() -> None:
    said = words(
        ("the", 0.0, 0.2), ("boat.", 0.2, 0.6), ("It", 0.6, 0.8), ("turned", 0.8, 1.2),
        ("slowly", 1.6, 2.0), ("(really?)", 2.2, 2.4), ("yes", 2.4, 2.6),
    )  # fmt: skip
    found = segments_of(said, -0.5)
    assert [each.text for each in found] == ["the boat.", "It turned", "slowly (really?)", "yes"]
    assert [(each.start_s, each.end_s) for each in found] == [(0.0, 0.6), (0.6, 1.2), (1.6, 2.4), (2.4, 2.6)]
    assert tuple(word for each in found for word in each.words) == tuple(said)


def test_no_segment_lasts_longer_than_30_s() -> None:
    found = segments_of(words(*((f"w{i}", i * 0.5, i * 0.5 + 0.5) for i in range(200))), -0.5)
    assert len(found) == 4
    assert max(each.end_s - each.start_s for each in found) <= MAX_SEGMENT_S
    assert sum(len(each.words) for each in found) == 200


def test_no_words_are_no_segments() -> None:
    assert segments_of([], 0.0) == ()


def test_words_without_times_stay_without_them_when_they_are_moved() -> None:
    moved = shifted([*words(("a", 1.0, 2.0)), TimedWord("b", (1,))], 5.0)
    assert [(word.start_s, word.end_s) for word in moved] == [(6.0, 7.0), (None, None)]


def test_no_speech_is_told_from_the_likeliest_frame_of_the_stretch() -> None:
    speech = np.array([0.0, 0.2, 0.9, 0.1] + [0.0] * 28, dtype=np.float32)  # 32 ms each
    assert no_speech_prob(speech, TextSegment(0.0, 0.12, "a", 0.0)) == pytest.approx(0.1)
    assert no_speech_prob(speech, TextSegment(0.5, 1.0, "a", 0.0)) == 1.0
    assert no_speech_prob(speech, TextSegment(9.0, 9.5, "a", 0.0)) == 1.0


def test_segments_of_pieces_that_overlap_end_before_the_next_starts() -> None:
    both = words(("one", 0.0, 1.0), ("two", 1.0, 2.4))
    first = TextSegment(0.0, 2.4, "one two", -0.1, tuple(both))
    second = TextSegment(2.3, 3.0, "three", -0.1, (TimedWord("three", (3,), 2.3, 3.0),))
    found = in_order([first, second])
    assert found[0].end_s == found[0].words[-1].end_s == 2.3
    assert found[1] == second
    assert in_order([]) == ()
    assert in_order([replace(first, words=(TimedWord("one", (1,)),))])[0].words == (TimedWord("one", (1,)),)
