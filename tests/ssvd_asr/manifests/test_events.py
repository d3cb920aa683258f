"""Tags of events are dropped by one rule; brackets that may have been said stay and are told."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssvd_asr.manifests.events import without_events
from ssvd_asr.manifests.read import read_entries
from ssvd_asr.manifests.utterances import Utterance
from tests.training.conftest import write_manifest


@pytest.mark.parametrize(
    ("text", "spoken", "tags"),
    [
        ("yes <noise> no", "yes no", 1),
        ("<SIL> yes [laughter] no (cough)", "yes no", 3),
        ("<laugh>yes</laugh> no", "yes no", 2),
        ("[vocalized-noise] yes {BREATH}", "yes", 2),
        ("(clears throat) yes [background noise] [door sounds]", "yes", 3),
        ('<pause time="3"/> yes', "yes", 1),
        ("<Lachen> ja", "ja", 1),
        ("[noise]", "", 1),
        ("I (no) said it [laughter-yes] (to her)", "I (no) said it [laughter-yes] (to her)", 0),
        ("two < three > one", "two < three > one", 0),
        ("a  text   as it is", "a  text   as it is", 0),
        ("[] () <>", "[] () <>", 0),
        ("<eng><asr><0.00> yes<1.20><1.40> no<12.00>", "yes no", 6),  # ESPnet's texts for OWSM
        ("<|startoftranscript|><|en|><|0.00|> yes<|1.20|>", "yes", 4),  # Whisper's
        ("<00:00:01.200>yes <v Ann>no</v>", "yes no", 3),  # of subtitles
        ("yes (()) no", "yes no", 1),
    ],
)
def test_tags_are_dropped_and_words_stay(text: str, spoken: str, tags: int) -> None:
    found = without_events(text)
    assert found.text == spoken
    assert len(found.tags) == tags


def test_words_that_are_missing_and_brackets_that_stay_are_doubts(tmp_path: Path) -> None:
    text = "yes <unk> [unintelligible] (maybe) no"
    (entry,) = read_entries(write_manifest(tmp_path / "m.jsonl", [{"audio": "a.wav", "text": text}]))
    assert isinstance(entry, Utterance)
    assert entry.text == "yes (maybe) no"
    assert entry.tags == ("<unk>", "[unintelligible]")
    assert entry.doubts == (
        "<unk> stands for words that the text has not",
        "[unintelligible] stands for words that the text has not",
        "(maybe) is no known tag and stays",
    )


@pytest.mark.parametrize(
    ("text", "sign"),
    [
        ("*laughs* yes", "*laughs*"),
        ("#noise yes", "#noise"),
        ("yes %uh", "%uh"),
        ("++UM++ yes", "++UM++"),
        ("yes ~SIL", "~SIL"),
        ("（笑）はい", "（笑）"),
        ("yes &amp; no", "&amp;"),
        ("yes [noise no", "[noise"),
        ("♪ yes", "♪"),
    ],
)
def test_signs_of_other_corpora_stay_and_are_doubts(text: str, sign: str) -> None:
    found = without_events(text)
    assert found.text == text
    assert found.kept == (sign,)


@pytest.mark.parametrize("text", ["100% of 3 * 2", "C++ is #1", "AT&T", "it's 5~6", "grüß * gott"])
def test_signs_within_words_and_numbers_are_no_doubts(text: str) -> None:
    assert without_events(text).kept == ()


def test_two_brackets_around_nothing_stand_for_words() -> None:
    assert without_events("yes (( )) no").unheard == ("(( ))",)


@given(st.text(alphabet="ab <>[](){}/-noise", max_size=40))
def test_what_is_dropped_is_dropped_at_once(text: str) -> None:
    once = without_events(text)
    if not once.tags:
        assert once.text == text
    assert len(once.text) <= len(text)
