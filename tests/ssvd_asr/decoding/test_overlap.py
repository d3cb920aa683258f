"""Overlapping pieces: every word is said once."""

from __future__ import annotations

from ssvd_asr.decoding.align import TimedWord
from ssvd_asr.decoding.overlap import Heard, own_words


def timed(*words: tuple[str, float]) -> tuple[TimedWord, ...]:
    """Words of 0.3 s, by their starts (s)."""
    return tuple(TimedWord(word, (1,), start_s, start_s + 0.3) for word, start_s in words)


def said(*pieces: Heard) -> list[list[str]]:
    return [[word.word for word in words] for words in own_words(pieces)]


def test_neighbours_are_joined_at_a_word_that_both_heard() -> None:
    left = Heard(timed(("my", 0.0), ("old", 0.5), ("fing", 1.1)), None, 1.0)
    right = Heard(timed(("told", 0.5), ("finger", 1.05), ("hurts", 2.0)), 1.0, None)
    assert said(left, right) == [["my", "old"], ["finger", "hurts"]]  # by the middle: none was heard by both
    right = Heard(timed(("Old,", 0.55), ("finger", 0.8), ("hurts", 2.0)), 1.0, None)
    assert said(left, right) == [["my", "old"], ["finger", "hurts"]]  # "finger" begins before the cut


def test_the_word_nearest_to_the_cut_joins_them() -> None:
    words = timed(("a", 0.0), ("b", 0.5), ("c", 1.0), ("d", 1.5))
    left, right = (
        Heard((*words, *timed(("x", 2.0))), None, 1.2),
        Heard((*timed(("y", -0.4)), *words), 1.2, None),
    )
    assert said(left, right) == [["a", "b", "c"], ["d"]]


def test_a_word_said_twice_stays_twice() -> None:
    words = timed(("no", 0.0), ("no", 0.6), ("no", 1.2))
    assert [word for own in said(Heard(words, None, 0.7), Heard(words, 0.7, None)) for word in own] == [
        "no",
        "no",
        "no",
    ]


def test_a_piece_is_cut_on_both_sides() -> None:
    words = timed(("a", 0.0), ("b", 1.0), ("c", 2.0), ("d", 3.0), ("e", 4.0))
    pieces = Heard(words[:3], None, 1.5), Heard(words[1:4], 1.5, 2.5), Heard(words[2:], 2.5, None)
    assert [word for own in said(*pieces) for word in own] == ["a", "b", "c", "d", "e"]


def test_without_a_common_word_a_word_belongs_to_the_piece_in_which_its_middle_lies() -> None:
    left = Heard(timed(("a", 0.0), ("b", 0.8), ("c", 1.4)), None, 1.0)
    right = Heard(timed(("d", 0.5), ("e", 0.9), ("f", 1.4)), 1.0, None)
    assert said(left, right) == [["a", "b"], ["e", "f"]]


def test_pieces_that_do_not_overlap_keep_all_their_words() -> None:
    words = timed(("a", 0.0), ("b", 1.0))
    assert said(Heard(words), Heard(words)) == [["a", "b"], ["a", "b"]]
    assert said() == []
    assert said(Heard((), None, 1.0), Heard(words, 1.0, None)) == [[], ["b"]]


def test_a_word_without_times_is_not_lost() -> None:
    lost = (TimedWord("x", (1,)), TimedWord("y", (1,)))
    assert said(Heard(lost, None, 1.0), Heard(lost, 1.0, None)) == [["x", "y"], ["x", "y"]]
