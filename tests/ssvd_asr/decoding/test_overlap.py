"""Overlapping pieces: every word is in exactly one of them."""

from __future__ import annotations

from ssvd_asr.decoding.align import TimedWord
from ssvd_asr.decoding.overlap import own_words


def test_a_word_belongs_to_the_piece_in_which_its_middle_lies() -> None:
    words = [
        TimedWord(word, (1,), start_s, start_s + 0.5) for word, start_s in (("a", 0), ("b", 0.75), ("c", 2))
    ]
    left, right = own_words(words, None, 1.0), own_words(words, 1.0, None)
    assert [word.word for word in left] == ["a"]
    assert [word.word for word in right] == ["b", "c"]


def test_a_word_without_times_is_not_lost() -> None:
    assert [word.word for word in own_words([TimedWord("a", (1,))], 1.0, 2.0)] == ["a"]
