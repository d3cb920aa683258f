"""Rules that the recipes of Debian packages share: what a clip may be, and that no text is in two splits."""

from __future__ import annotations

import gzip
import json
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import recipes.asterisk.__main__ as asterisk
import recipes.fillets.__main__ as fillets
import recipes.librivox.__main__ as librivox
import recipes.tuxpaint.__main__ as tuxpaint
from recipes import debian
from recipes.debian.clips import Clip, speaking_channel, split_of, symbols_of, utterance
from recipes.debian.command import DebianRecipe, prepare, run, table
from recipes.debian.distinct import distinct
from recipes.debian.package import Package
from recipes.debian.translations import write_translations
from recipes.entries import Kept, LeftOut
from ssvd_asr.errors import DataError
from tests.recipes.packages import named, write_sound

TRAIN, VALID, TEST = (named(split) for split in ("train", "valid", "test"))


def clip(path: Path, text: str = "a small boat", **others: str) -> Clip:
    return Clip("id", TRAIN, path, text, "en", **others)


def kept(identity: str, split: str, audio: Path, text: str) -> Kept:
    return Kept(identity, split, audio, text, None, 1.0)


def test_a_split_depends_on_the_group_alone_and_has_its_share() -> None:
    splits = [split_of(f"level {n}") for n in range(5000)]
    assert splits == [split_of(f"level {n}") for n in range(5000)]
    for split, share in (("train", 0.8), ("valid", 0.1), ("test", 0.1)):
        assert splits.count(split) / 5000 == pytest.approx(share, abs=0.02)
    assert split_of("airplane") == "train"


@pytest.mark.parametrize(
    ("text", "duration_s", "levels", "reason"),
    [
        ("...", 1.0, (0.05,), "no words"),
        ("", 1.0, (0.05,), "no words"),
        ("6x7=42", 1.0, (0.05,), "symbols in the text"),
        ("a quarter ($.25)", 1.0, (0.05,), "symbols in the text"),
        ("row A%1.", 1.0, (0.05,), "symbols in the text"),
        ("a boat", 0.05, (0.05,), "under 0.1 s"),
        ("a boat", 0.0, (0.05,), "under 0.1 s"),
        ("a boat", 30.2, (0.05,), "over 30 s"),
        ("a boat", 1.0, (0.0,), "silent audio"),
        ("one two three four five six seven eight nine", 1.0, (0.05,), "over 8 words a second"),
        ("twenty-three lettersss are", 1.0, (0.05,), "over 22 letters a second"),
    ],
)
def test_a_clip_that_is_no_utterance_is_left_out_for_its_reason(
    tmp_path: Path, text: str, duration_s: float, levels: tuple[float, ...], reason: str
) -> None:
    judged = utterance(clip(write_sound(tmp_path / "a.wav", duration_s, levels=levels), text))
    assert isinstance(judged, LeftOut)
    assert (judged.reason, judged.split) == (reason, "train")


def test_a_broken_sound_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.ogg"
    path.write_bytes(b"OggS but no more")
    judged = utterance(clip(path))
    assert isinstance(judged, LeftOut)
    assert judged.reason == "unreadable audio"


@pytest.mark.parametrize(
    "text", ["it's 5 o'clock", "l’été", "zo'n ` ´", "«Ahoj», řekl – tiše…", "(a note)", "LC-10"]
)
def test_what_people_say_has_no_symbols(text: str) -> None:
    assert symbols_of(text) == ""


def test_the_length_is_measured_and_white_space_collapses(tmp_path: Path) -> None:
    judged = utterance(clip(write_sound(tmp_path / "a.ogg", 1.5), " a  small\n boat "))
    assert isinstance(judged, Kept)
    assert judged.duration_s == pytest.approx(1.5)
    assert judged.text == "a small boat"
    assert judged.channel is None


@pytest.mark.parametrize(
    ("levels", "channel"),
    [
        ((0.1,), None),
        ((0.0, 0.1), 1),
        ((0.1, 0.0), 0),
        ((0.1, 0.1), None),
        ((0.0, 0.0, 0.1), 2),
        ((0.0, 0.1, 0.1), None),
    ],
)
def test_a_channel_is_named_if_it_alone_speaks(levels: tuple[float, ...], channel: int | None) -> None:
    noise = np.random.default_rng(0).normal(size=(1000, 1))
    assert speaking_channel((noise * np.array(levels)).astype(np.float32)) == channel


def test_a_text_in_two_splits_stays_in_the_test_then_in_the_validation(tmp_path: Path) -> None:
    sounds = [write_sound(tmp_path / f"{n}.wav") for n in range(6)]
    entries = [
        kept("1", "train", sounds[0], "Yes."),
        kept("2", "test", sounds[1], "yes"),
        kept("3", "valid", sounds[2], "YES!"),
        kept("4", "train", sounds[3], "no"),
        kept("5", "valid", sounds[4], "No"),
        kept("6", "train", sounds[5], "maybe"),
    ]
    found = list(distinct(entries))
    assert [entry.id for entry in found] == list("123456")
    assert [entry.reason if isinstance(entry, LeftOut) else "" for entry in found] == [
        "text also in test", "", "text also in test", "text also in valid", "", "",
    ]  # fmt: skip


def test_a_recording_is_used_once_and_one_with_two_texts_is_not_used(tmp_path: Path) -> None:
    sounds = [write_sound(tmp_path / f"{n}.wav") for n in range(2)]
    copies = []
    for number, sound in enumerate(sounds):
        copies.append(tmp_path / f"copy{number}.wav")
        copies[-1].write_bytes(sound.read_bytes())
    left = LeftOut("0", "none", "no sound", "")
    found = list(
        distinct(
            [
                left,
                kept("1", "train", sounds[0], "The letter A."),
                kept("2", "train", copies[0], "The letter a."),
                kept("3", "train", sounds[1], "A bass."),
                kept("4", "test", copies[1], "An electric bass."),
            ]
        )
    )
    assert found[0] is left
    assert [entry.reason if isinstance(entry, LeftOut) else "" for entry in found[1:]] == [
        "", "recording used before", "recording with two texts", "recording with two texts",
    ]  # fmt: skip


def test_no_english_text_is_in_two_splits_of_the_translations(tmp_path: Path) -> None:
    audio = write_sound(tmp_path / "a.wav")
    said = [("1", "train", "Ja."), ("2", "test", "Jawel."), ("3", "train", "Nee."), ("4", "valid", "Hm.")]
    entries = [kept(identity, split, audio, text) for identity, split, text in said]
    english = {"1": "Yes.", "2": "yes", "3": " No, \n never. ", "4": "..."}
    assert write_translations(tmp_path, entries, english) == {"train": 1, "valid": 0, "test": 1}
    (line,) = (tmp_path / "train-to-en.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line) == {"id": "3", "audio": str(audio), "text": "No, never.", "duration": 1.0}


def test_a_missing_package_is_named_with_the_command_that_gets_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"apt-get install .* a b, .*dpkg -x .* --corpus"):
        Package(("a", "b"), tmp_path).find("usr/share/a")


def test_the_first_place_that_exists_is_the_packages(tmp_path: Path) -> None:
    (tmp_path / "usr/share/a").mkdir(parents=True)
    assert Package(("a",), tmp_path).find("usr/games/a", "usr/share/a", ".") == tmp_path / "usr/share/a"


def test_a_command_of_which_nothing_is_kept_fails_and_leaves_no_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def clips(_package: Package, _arguments: Namespace) -> Iterator[Clip | LeftOut]:
        yield LeftOut("1", "none", "no sound", "")

    recipe = DebianRecipe("small", "", ("a",), "GPL-2", clips)
    out = tmp_path / "out"
    out.mkdir()
    (out / "report.json").write_text("{}", encoding="utf-8")
    assert run(recipe, ["--out", str(out)]) == 1
    assert "recipes.small: nothing of / can be used" in capsys.readouterr().err
    assert not (out / "report.json").exists()


def test_the_table_has_minutes_speakers_translations_and_the_licence(tmp_path: Path) -> None:
    def clips(_package: Package, _arguments: Namespace) -> Iterator[Clip | LeftOut]:
        for number, level in enumerate((TRAIN, VALID, TEST)):
            sound = write_sound(tmp_path / f"{number}.wav", 6.0)
            yield Clip(str(number), level, sound, f"text {number}", "en", "voice", f"English {number}")

    arguments = Namespace(out=tmp_path / "out", corpus=tmp_path, speaker=None)
    changelog = tmp_path / "usr/share/doc/a/changelog.Debian.gz"
    changelog.parent.mkdir(parents=True)
    changelog.write_bytes(gzip.compress(b"source-of-a (1.2-3) unstable; urgency=low\n"))
    recipe = DebianRecipe("small", "", ("a", "b"), "GPL-2", clips, translates=True)
    text = table(prepare(recipe, arguments))
    assert "train        1       1      0.1       1" in text
    assert "3 utterances, 0.3 minutes in all" in text
    assert "speaker voice: 3 utterances, 0.3 minutes" in text
    assert "test-to-en.jsonl: 1 utterances with an English text" in text
    assert text.endswith("packages: a 1.2-3, b (version unknown)\nlicence: GPL-2")


def test_the_list_of_packages_is_that_of_the_recipes() -> None:
    listed = (Path(debian.__file__).parent / "packages.txt").read_text(encoding="utf-8").split()
    recipes = (fillets.RECIPE, asterisk.RECIPE, tuxpaint.RECIPE, librivox.RECIPE)
    assert sorted(listed) == sorted(name for recipe in recipes for name in recipe.packages)
