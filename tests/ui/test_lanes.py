"""Lanes under the waveform: a word stands at its time, whole, and nowhere if there is no room for all."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from tests.ui.replies import DURATION_S, transcript
from ui.lanes import COLUMNS, lanes

PLACE = re.compile(r'data-start-s="([\d.]+)".*?grid-column: (\d+) / span (\d+)">([^<]*)<')


def placed(html: str) -> list[tuple[float, int, int, str]]:
    """Start in seconds, first column, columns and text of each word."""
    return [(float(start), int(first), int(width), text) for start, first, width, text in PLACE.findall(html)]


def test_a_word_starts_where_the_waveform_is_at_its_time() -> None:
    ((_, first, _, text),) = placed(lanes(transcript("cat", DURATION_S / 2)))
    assert (first - 1, text) == (COLUMNS // 2, "cat")


@given(st.floats(0, DURATION_S), st.text("abc", min_size=1, max_size=200))
def test_no_word_leaves_the_lane(start_s: float, text: str) -> None:
    for _, first, width, _ in placed(lanes(transcript(text, start_s))):
        assert first >= 1
        assert first + width - 1 <= COLUMNS


def test_each_transcript_has_its_own_lane() -> None:
    html = lanes(transcript("wed", 1.0), transcript("red", 2.0, domain="child"))
    assert [(start, text) for start, _, _, text in placed(html)] == [(1.0, "wed"), (2.0, "red")]
    assert html.index("Base model") < html.index("With domain child")


def test_only_words_with_times_have_a_place() -> None:
    assert [text for *_, text in placed(lanes(transcript("the cat", 1.0)))] == ["the"]


def test_a_recording_with_more_words_than_fit_has_no_lanes() -> None:
    crowded = transcript("word " * 200, *[0.05 * index for index in range(200)])
    assert lanes(crowded) == ""
    assert lanes(transcript("one", 1.0), crowded) == ""


def test_a_word_is_never_html() -> None:
    html = lanes(transcript("<b>", 1.0, domain='<i>"'))
    assert "<b>" not in html
    assert "<i>" not in html
