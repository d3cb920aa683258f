"""What has been told of a turn is never taken back, and at the end the text is whole."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from server.realtime.agreement import Agreement

TEXTS = st.lists(
    st.lists(st.sampled_from(["one", "two", "three", "four", "Five.", "six,"]), max_size=8).map(" ".join)
)


def test_words_on_which_two_decodings_agree_are_told_once() -> None:
    turn = Agreement()
    assert turn.update("we have") == ""
    assert turn.update("we have seen") == "we have"
    assert turn.update("we have seen a") == " seen"
    assert turn.update("we have seen a wale") == " a"
    assert turn.update("we have seen a whale") == ""
    assert turn.end("we have seen a whale today") == " whale today"
    assert turn.told == "we have seen a whale today"


def test_the_last_word_may_be_cut_in_two_and_waits() -> None:
    turn = Agreement()
    turn.update("good mor")
    assert turn.update("good mor") == "good"


def test_case_and_punctuation_do_not_disagree() -> None:
    turn = Agreement()
    turn.update("Hello. World")
    assert turn.update("Hello, world again") == "Hello, world"


def test_a_final_decoding_of_other_words_keeps_what_was_told() -> None:
    turn = Agreement()
    turn.update("I saw a ship sail")
    turn.update("I saw a ship sail away")
    assert turn.told == "I saw a ship sail"
    assert turn.end("I saw the ship sail away") == " away"
    assert turn.told == "I saw a ship sail away"


def test_scripts_without_spaces_are_told_letter_by_letter() -> None:
    turn = Agreement()
    turn.update("今日は良い")
    assert turn.update("今日は良い天気") == "今日は良い"
    turn.end("今日は良い天気です")
    assert turn.told == "今日は良い天気です"


def test_nothing_told_is_the_final_text() -> None:
    turn = Agreement()
    turn.end("all at once")
    assert turn.told == "all at once"


@given(TEXTS, st.lists(st.sampled_from(["one", "two", "three", "four"])).map(" ".join))
def test_the_deltas_together_are_what_was_told(texts: list[str], last: str) -> None:
    turn = Agreement()
    deltas = []
    for text in texts:
        before = turn.told
        deltas.append(turn.update(text))
        assert turn.told == before + deltas[-1]
    deltas.append(turn.end(last))
    assert "".join(deltas) == turn.told
    if not any(deltas[:-1]):
        assert turn.told == last
