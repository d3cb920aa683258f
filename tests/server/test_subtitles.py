"""Cues of a reply: few short lines, in order, with the words of the text and no others."""

from __future__ import annotations

import html

import pysubs2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.engine.messages import Provenance, Reply, TextSegment
from server.subtitles import MAX_LINE_CHARS, MAX_LINES, cues, subtitles
from ssvd_asr.decoding.align import TimedWord
from tests.server.fakes import BASE, DIGEST, spread

WORDS = st.lists(st.text("abcdefghijklmnopqrstuvwxyz'-", min_size=1, max_size=15), min_size=1, max_size=60)


def segment(words: list[str], *, timed: bool = True) -> TextSegment:
    found = spread(words, 1.0, 21.0) if timed else tuple(TimedWord(word, (0,)) for word in words)
    return TextSegment(1.0, 21.0, " ".join(words), -0.5, found)


def reply(*segments: TextSegment) -> Reply:
    text = " ".join(each.text for each in segments)
    return Reply(text, segments, "eng", 30.0, Provenance(BASE, DIGEST))


@given(WORDS, st.booleans())
def test_cues_hold_few_short_lines_and_every_word_in_order(words: list[str], timed: bool) -> None:
    found = list(cues([segment(words, timed=timed)]))
    assert " ".join(line for cue in found for line in cue.lines).split() == words
    for cue in found:
        assert len(cue.lines) <= MAX_LINES
        assert all(len(line) <= MAX_LINE_CHARS for line in cue.lines)
    times = [time for cue in found for time in (cue.start_s, cue.end_s)]
    assert times == sorted(times)
    assert times[0] >= 1.0
    assert times[-1] <= 21.0 + 1e-9


def test_a_word_longer_than_a_line_is_cut_and_nothing_is_lost() -> None:
    (cue,) = cues([segment(["a" * 60])])
    assert cue.lines == ("a" * 42, "a" * 18)


@pytest.mark.parametrize("kind", ["srt", "vtt"])
def test_signs_that_are_markup_are_shown_as_they_are(kind: str) -> None:
    words = ["a", "<b>", "{c}", "d&e"]
    text = subtitles(reply(segment(words)), kind)  # type: ignore[arg-type]
    shown = text.splitlines()[-1] if text.splitlines()[-1] else text.splitlines()[-2]
    assert (html.unescape(shown) if kind == "vtt" else shown) == "a <b> {c} d&e"
    assert ("<b>" in text) == (kind == "srt")


def test_silence_is_a_file_without_cues() -> None:
    assert subtitles(reply(), "srt").strip() == ""
    assert subtitles(reply(), "vtt").strip() == "WEBVTT"
    assert list(pysubs2.SSAFile.from_string(subtitles(reply(segment(["a"])), "srt"), "srt"))


def test_letters_of_a_script_without_spaces_stand_without_them() -> None:
    text = "今日はいい天気ですから" * 5
    words = tuple(
        TimedWord(letter, (0,), 1.0 + 0.2 * place, 1.2 + 0.2 * place, gap="")
        for place, letter in enumerate(text)
    )
    found = list(cues([TextSegment(1.0, 1.0 + 0.2 * len(text), text, -0.5, words)]))
    assert "".join(line for cue in found for line in cue.lines) == text
