"""Marking what differs, and counting what is wrong."""

from __future__ import annotations

import jiwer
from hypothesis import given
from hypothesis import strategies as st

from ui.words import Word, aligned, compare

sentences = st.lists(st.sampled_from(["a", "bird", "red", "wed", "the", "rabbit"]), max_size=12).map(" ".join)


def marked(words: list[Word]) -> list[str]:
    return [word.text for word in words if word.differs]


def test_the_words_that_differ_are_marked_on_both_sides() -> None:
    left, right = compare("the wed wabbit ran", "the red rabbit ran away")
    assert marked(left) == ["wed", "wabbit"]
    assert marked(right) == ["red", "rabbit", "away"]


def test_case_and_punctuation_do_not_differ() -> None:
    left, right = compare("Hello, it's me!", "hello it's ME")
    assert marked(left) == marked(right) == []
    assert [word.text for word in left] == ["Hello,", "it's", "me!"]


def test_words_that_repeat_are_marked_no_more_than_they_differ() -> None:
    said = "the old book in the garden " * 25
    left, right = compare(said, said.replace("old", "cold", 3))
    assert (marked(left), marked(right)) == (["old"] * 3, ["cold"] * 3)


def test_an_empty_side_leaves_the_other_wholly_marked() -> None:
    left, right = compare("", "all new words")
    assert left == []
    assert len(marked(right)) == 3


@given(sentences, sentences)
def test_unmarked_words_are_the_same_on_both_sides_and_no_word_is_lost(first: str, second: str) -> None:
    left, right = compare(first, second)
    assert [word.text for word in left] == first.split()
    assert [word.text for word in right] == second.split()
    assert [w.text for w in left if not w.differs] == [w.text for w in right if not w.differs]


@given(sentences.filter(bool), sentences)
def test_wrong_words_are_counted_as_jiwer_counts_them(reference: str, transcript: str) -> None:
    counts = jiwer.process_words(reference, transcript)
    errors = counts.substitutions + counts.deletions + counts.insertions
    steps = aligned(reference, transcript)
    assert sum(not step.right for step in steps) == errors
    assert [step.said for step in steps if step.said is not None] == reference.split()
    assert [step.heard for step in steps if step.heard is not None] == transcript.split()
