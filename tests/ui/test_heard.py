"""Words with their times: every word of the text is there, and none gets the time of another."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.ui.replies import body, segment, word
from ui.heard import HeardWord, heard_words

few_words = st.lists(st.sampled_from(["a", "the", "cat"]), min_size=1, max_size=4)
pieces = st.lists(
    st.tuples(few_words, st.booleans()), max_size=5
)  # words of a segment, whether they have times


def test_each_word_has_the_time_at_which_it_was_heard() -> None:
    assert heard_words(body("the cat", 0.5, 1.25)) == (
        HeardWord("the", 0.5, 0.9),
        HeardWord("cat", 1.25, 1.65),
    )


def test_a_word_without_times_does_not_take_those_of_the_same_word_later() -> None:
    reply = {
        "text": "the cat the dog",
        "segments": [segment(0.0, 2.0, "the cat"), segment(2.5, 4.0, "the dog")],
        "words": [word("the", 2.5), word("dog", 3.0)],
    }
    assert [heard.start_s for heard in heard_words(reply)] == [None, None, 2.5, 3.0]


def test_a_text_that_is_not_that_of_the_segments_has_no_times() -> None:
    assert heard_words({**body("the cat", 0.5, 1.0), "text": "a dog"}) == (HeardWord("a"), HeardWord("dog"))


@given(pieces)
def test_exactly_the_words_that_the_server_timed_have_their_times(made: list[tuple[list[str], bool]]) -> None:
    segments, words, expected = [], [], []
    for index, (texts, timed) in enumerate(made):
        starts_s = [10.0 * index + number for number in range(len(texts))]
        segments.append(segment(10.0 * index, 10.0 * index + 9.0, " ".join(texts)))
        words += map(word, texts, starts_s) if timed else []
        expected += [(text, start if timed else None) for text, start in zip(texts, starts_s, strict=True)]
    text = " ".join(each["text"] for each in segments)
    found = heard_words({"text": text, "segments": segments, "words": words})
    assert [(heard.text, heard.start_s) for heard in found] == expected
