"""Bars of what was found out: each candidate once, in words too, and never as more than the server said."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.ui.replies import candidate, choice, found_out, read, transcript
from ui import render
from ui.bars import BASE_ALONE, BY_VOICE, NOT_COMPARED, NOTHING_HEARD, SHOWN, TRIED, TRIED_AND_KEPT
from ui.client import Transcript
from ui.style import STYLE

BASE = transcript("the wed wabbit")
ALL = [candidate("child", 0.62, -0.1), candidate(None, 0.3, -0.15), candidate("scottish", 0.004, -0.9)]


def found(domain: str | None, *decisions: dict[str, Any], text: str = "the red rabbit") -> Transcript:
    return read(found_out(text, domain, *decisions))


def shown(domain: str | None, *decisions: dict[str, Any]) -> str:
    return render.result(BASE, found(domain, *decisions), None, "clip")


def told(page: str) -> list[str]:
    """What a screen reader says of each candidate."""
    items = re.findall(r"<li class=\"ssvd-candidate[^>]*>(.*?)</li>", page)
    return [" ".join(re.sub(r"<[^>]+>", " ", item).split()) for item in items]


def test_the_chosen_one_and_the_runners_up_tell_their_share_and_how_sure_they_were() -> None:
    page = shown("child", choice("child", *ALL))
    assert told(page) == [
        "child version 2 62 % likely ✓ chosen, surest of its words",
        "the base model 30 % likely nearly as sure of its words",
        "scottish version 2 under 1 % likely less sure of its words",
    ]
    assert re.findall("--share: ([^%]+)%", page) == ["62.0", "30.0", "0.4"]
    assert "Found out: child version 2" in page
    assert TRIED in page


def test_where_the_voice_decided_no_words_are_said_to_be_surer() -> None:
    considered = [candidate("child", 0.996, None), candidate(None, 0.004, None)]
    page = shown("child", choice("child", *considered, compared=False))
    assert told(page) == ["child version 2 over 99 % likely ✓ chosen", "the base model under 1 % likely"]
    assert BY_VOICE in page


def test_unknown_voices_have_no_bar_and_say_so() -> None:
    page = shown(None, choice(None, candidate(None, None, None), compared=False))
    assert told(page) == ["the base model its voices are not known ✓ chosen"]
    assert 'ssvd-bar"' not in page
    assert NOT_COMPARED in page


def test_a_base_that_was_kept_though_a_domain_is_a_little_surer_is_explained() -> None:
    page = shown(None, choice(None, *ALL))
    assert told(page)[0] == "the base model 30 % likely ✓ chosen, nearly as sure of its words"
    assert TRIED_AND_KEPT in page


def test_a_base_that_was_chosen_stands_alone_and_is_not_compared_with_itself() -> None:
    page = shown(None, choice(None, *ALL))
    assert "Found out: the base model" in page
    assert BASE_ALONE in page
    assert page.count("ssvd-card ") == 1
    assert "ssvd-differs" not in page
    assert "Made by owsm-nano" in page
    assert "version 2 <code" not in page


def test_a_recording_without_speech_says_that_nothing_was_chosen() -> None:
    silent = transcript("")  # its reply has no choices
    page = render.result(silent, silent, None, "clip")
    assert NOTHING_HEARD in page
    assert page.count("ssvd-card ") == 1


PARTS = [
    choice("child", *ALL),
    choice(None, *ALL, start_s=75.3),
    choice("scottish", *ALL, start_s=130.0, channel=1),
]


def test_several_choices_have_their_times_and_channels_and_the_parts_their_versions() -> None:
    page = shown("child", *PARTS)
    assert re.findall("<summary>(.*?)</summary>", page) == [
        "from 0:00: child version 2",
        "from 1:15: the base model",
        "Channel 1, from 2:10: scottish version 2",
    ]
    assert "With what was found out for each part" in page
    assert "With domain child" not in page
    made_by = re.sub("<[^>]+>", "", page[page.index("Made by") :])
    assert (
        "child version 2 sha256:bbbbbbbbbbbb…; other parts with the base model and scottish version 2"
        in made_by
    )


def test_subtitles_of_different_parts_are_asked_for_as_the_words_were() -> None:
    """Pinned to the domain of one part, they would have other words."""
    page = shown("child", *PARTS)
    assert page.count('data-domain="auto"') == 2
    assert "clip-auto.srt" in page
    assert 'data-domain="auto"' not in shown("child", PARTS[0], {**PARTS[0], "start": 75.3})


def test_a_tick_and_words_tell_the_chosen_one_and_not_its_colour() -> None:
    page = shown("child", choice("child", *ALL))
    assert page.count("ssvd-chosen") == page.count("✓ chosen") == 1
    (rule,) = re.findall(r"^\.ssvd-chosen {([^}]*)}", STYLE, re.MULTILINE)
    assert "color" not in rule


shares = st.none() | st.floats(0, 1)
scores = st.none() | st.floats(-5, 0)


@given(st.lists(st.tuples(shares, scores), min_size=1, max_size=12), st.data())
def test_every_candidate_stands_there_once(found: list[tuple[Any, Any]], data: st.DataObject) -> None:
    names = [None, *(f"domain-{number}" for number in range(1, len(found)))]
    considered = [candidate(name, *each) for name, each in zip(names, found, strict=True)]
    chosen = data.draw(st.sampled_from(names))
    page = shown(chosen, choice(chosen, *considered, *considered[:1]))
    lines = told(page)
    assert sorted(line.split(" version")[0].split(" model")[0] for line in lines) == sorted(
        name or "the base" for name in names
    )
    assert ["✓" in line for line in lines] == [True] + [False] * (len(names) - 1)
    assert (" more</summary>" in page) == (
        len(names) > max(SHOWN, sum(each[1] is not None for each in found))
    )


def test_a_name_is_never_html() -> None:
    evil = "<script>"
    page = shown(evil, *(choice(evil, candidate(evil, 0.5, -1.0), start_s=start) for start in (0.0, 1.0)))
    mixed = shown(None, choice(evil, candidate(evil, 0.5, -1.0)), choice(None, candidate(None, 0.5, -1.0)))
    assert evil not in page + mixed
