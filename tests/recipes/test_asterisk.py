"""Asterisk's prompts: notes are not said, equal prompts stay together, all is kept or counted."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

from recipes.asterisk.__main__ import RECIPE
from recipes.asterisk.corpus import SOUNDS, TEXTS
from recipes.asterisk.families import WORDS_IN_A_ROW, families
from recipes.debian.command import run
from recipes.entries import SPLITS
from ssvd_asr.scoring import normalise
from tests.recipes.packages import (
    check_manifests,
    counted,
    left_out,
    manifest,
    named,
    prepare,
    reasons,
    skip_without,
    told,
    write_sound,
)

TRAIN, VALID, TEST = (named(split) for split in ("train", "valid", "test"))
LIST = f"""; Core sounds in a language

one: {TRAIN}.
folder/two: ...{VALID} [a note]
three: {TEST} (note: does not say "3")
again: {TEST.upper()}!
tones: [ascending tones]
rest: (10 seconds of silence)
join: <beep ascending>
star: press * now
gone: Nobody recorded this.
twice: first
twice: second
no colon here
"""


def in_a_row(text: str) -> Iterator[tuple[str, ...]]:
    words = text.split()
    return zip(*(words[n:] for n in range(WORDS_IN_A_ROW)), strict=False)


def test_prompts_that_share_four_words_in_a_row_are_of_one_family() -> None:
    long, like, linked = "press one to go on", "then press one to go", "and then press one to stay"
    apart, short = "press one to stop", "press one to"
    assert families([like, long, apart, linked, short, long]) == {
        long: linked, like: linked, linked: linked, apart: apart, short: short,
    }  # fmt: skip


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    root = tmp_path / "unpacked"
    path = root / TEXTS[0]
    path.parent.mkdir(parents=True)
    path.write_bytes(gzip.compress(LIST.encode()))
    for name in ("one", "folder/two", "three", "again", "tones", "rest", "join", "star", "twice", "more"):
        write_sound(root / SOUNDS / f"{name}.wav")
    return root


def test_each_prompt_and_each_sound_is_kept_or_left_out_with_a_reason(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = prepare(RECIPE, corpus, out)
    check_manifests(out)
    assert reasons(out) == {
        "no words": 3,
        "symbols in the text": 1,
        "no sound": 1,
        "prompt with two texts": 1,
        "line that names no prompt": 1,
        "sound without a text": 1,
    }
    assert left_out(out)["asterisk/more"] == "sound without a text"
    assert report["speakers"].keys() == {"asterisk-allison"}


def test_notes_in_brackets_are_not_part_of_the_text(corpus: Path, tmp_path: Path) -> None:
    prepare(RECIPE, corpus, tmp_path / "out")
    assert manifest(tmp_path / "out", "valid")["asterisk/folder/two"]["text"] == f"...{VALID}"
    assert manifest(tmp_path / "out", "test")["asterisk/three"]["text"] == TEST


def test_two_recordings_of_the_same_words_are_in_one_split(corpus: Path, tmp_path: Path) -> None:
    prepare(RECIPE, corpus, tmp_path / "out")
    assert manifest(tmp_path / "out", "test").keys() == {"asterisk/three", "asterisk/again"}


def test_a_damaged_list_is_told(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = corpus / TEXTS[0]
    path.write_bytes(path.read_bytes()[:-12])
    assert run(RECIPE, ["--corpus", str(corpus), "--out", str(tmp_path / "out")]) == 1
    assert "core-sounds-en.txt.gz cannot be read" in capsys.readouterr().err


def test_the_installed_package_has_what_the_readme_tells(tmp_path: Path) -> None:
    skip_without(asterisk_core_sounds_en="1.6.1-1", asterisk_core_sounds_en_wav="1.6.1-1")
    report = prepare(RECIPE, Path("/"), tmp_path)
    found = check_manifests(tmp_path)
    for split in SPLITS:
        assert told(RECIPE, split) == counted(report, split)
    rows = [
        {row for utterance in found[split] for row in in_a_row(normalise(utterance.text))} for split in SPLITS
    ]
    assert sum(map(len, rows)) == len(set().union(*rows))
