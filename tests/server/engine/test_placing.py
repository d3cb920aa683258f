"""Pieces of a request: where two heard the same speech, the reply says each word once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from server.engine.messages import Decoded, Piece, TextSegment
from server.engine.placing import Joiner, placed
from ssvd_asr.audio.read import SAMPLE_RATE
from ssvd_asr.decoding.align import TimedWord
from ssvd_asr.decoding.hypothesis import Hypothesis, TimedText
from ssvd_asr.decoding.overlap import Heard
from ssvd_asr.transcription import Transcript


def joined(pieces: Sequence[Decoded], *, timestamps: bool) -> list[Decoded]:
    joiner = Joiner(timestamps)
    return [*(each for piece in pieces for each in joiner.take(piece)), *joiner.end()]


def timed(*words: tuple[str, float]) -> tuple[TimedWord, ...]:
    """Words of 0.3 s, by their starts (s)."""
    return tuple(TimedWord(word, (1,), start_s, start_s + 0.3) for word, start_s in words)


def heard(words: tuple[TimedWord, ...], from_s: float | None = None, to_s: float | None = None) -> Decoded:
    text = " ".join(word.word for word in words)
    overlaps = from_s is not None or to_s is not None
    segment = TextSegment(0.0, 9.0, text, -0.1, words)
    return Decoded(text, (segment,), heard=Heard(words, from_s, to_s) if overlaps else None)


LEFT = heard(timed(("one", 0.0), ("two", 1.0), ("thr", 1.6)), None, 1.5)
RIGHT = heard(timed(("wo", 1.1), ("two", 1.05), ("three", 1.6), ("four", 3.0)), 1.5, None)


def test_each_word_is_said_once_and_segments_follow_the_words() -> None:
    left, right = joined([LEFT, RIGHT], timestamps=True)
    assert (left.text, right.text) == ("one two", "three four")
    assert [segment.text for segment in right.segments] == ["three", "four"]  # a pause between them
    assert right.segments[0].start_s == 1.6


def test_the_words_are_the_same_without_timestamps() -> None:
    left, right = joined([LEFT, RIGHT], timestamps=False)
    assert (left.text, right.text) == ("one two", "three four")
    assert [segment.words for segment in (*left.segments, *right.segments)] == [(), ()]


def test_a_piece_without_words_of_its_own_has_no_segment() -> None:
    nothing = heard(timed(("two", 1.0)), 1.5, None)
    assert joined([LEFT, nothing], timestamps=True)[1].segments == ()


def test_pieces_that_do_not_overlap_stay_as_they_are() -> None:
    pieces = [heard(timed(("one", 0.0))), heard(timed(("one", 0.1)))]
    assert joined(pieces, timestamps=True) == pieces
    assert joined([], timestamps=True) == []


def test_a_piece_that_overlaps_keeps_no_segment_of_its_neighbours_words() -> None:
    """The base's own times say nothing of whose words they are."""
    piece = Piece(np.zeros(2 * SAMPLE_RATE, np.float32), 5.0, None, "<eng>", True, None, own_from_s=6.0)
    own_times = (TimedText(0.0, 2.0, "one two"),)
    hypothesis = Hypothesis((1, 2), "one two", -1.0, 0.0, True, own_times)
    transcript = Transcript("one two", hypothesis, "greedy", None, timed(("one", 0.2), ("two", 1.2)))
    found = placed(piece, transcript)
    assert len(found.segments) == 1
    (before, after) = joined([heard(timed(("zero", 5.0)), None, 6.0), found], timestamps=True)
    assert (before.text, after.text) == ("zero", "two")
    assert [segment.text for segment in after.segments] == ["two"]


def japanese(text: str, start_s: float) -> tuple[TimedWord, ...]:
    """A word for each letter, 0.3 s apart, as Whisper's tokens have them."""
    return tuple(
        TimedWord(letter, (1,), start_s + 0.3 * place, start_s + 0.3 * place + 0.3, gap="")
        for place, letter in enumerate(text)
    )


def test_overlapping_pieces_of_a_script_without_spaces_are_joined_without_them() -> None:
    first = heard(japanese("今日はい", 0.0), None, 0.9)
    second = heard(japanese("はいい天気", 0.6), 0.9, None)
    for timestamps in (True, False):
        left, right = joined([first, second], timestamps=timestamps)
        assert left.text + right.text == "今日はいい天気"
        segments = [*left.segments, *right.segments]
        assert "".join(segment.text for segment in segments) == left.text + right.text


def test_words_of_a_script_without_spaces_go_to_the_stretch_that_has_their_letters() -> None:
    words = japanese("今日は天気", 0.0)
    own_times = (TimedText(0.0, 0.9, "今日は"), TimedText(0.9, 1.5, "天気"))
    hypothesis = Hypothesis((1, 2, 3, 4, 5), "今日は天気", -1.0, 1.0, True, own_times)
    piece = Piece(np.zeros(2 * SAMPLE_RATE, np.float32), 0.0, None, "<jpn>", True, None)
    found = placed(piece, Transcript("今日は天気", hypothesis, "greedy", None, words))
    told = ["".join(word.word for word in segment.words) for segment in found.segments]
    assert told == ["今日は", "天気"]
