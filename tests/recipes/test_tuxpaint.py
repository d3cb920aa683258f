"""Tux Paint's stamps: each language has its line and sound, and a stamp has one split in all languages."""

from __future__ import annotations

from pathlib import Path

import pytest

from recipes.debian.command import run
from recipes.entries import SPLITS
from recipes.tuxpaint.__main__ import RECIPE
from recipes.tuxpaint.corpus import texts_of
from ssvd_asr.manifests.audio import read_utterance
from ssvd_asr.manifests.read import read_entries
from ssvd_asr.manifests.utterances import Utterance
from tests.recipes.packages import (
    WINDOW,
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
ROOT = "usr/share/tuxpaint/stamps"


def stamp(root: Path, name: str, english: str, **texts: str) -> None:
    path = root / ROOT / f"{name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    rest = "".join(f"{language}.utf8={text}\n" for language, text in texts.items())
    path.write_text(f"{english}\n{rest}", encoding="utf-8")


def sound(root: Path, name: str, ending: str, **options: tuple[float, ...]) -> Path:
    return write_sound(root / ROOT / f"{name}_desc{ending}", **options)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    root = tmp_path / "unpacked"
    stamp(root, "animals/frog", TRAIN, fr="Une grenouille.", ro="O broască.", pt_BR="Um sapo.")
    stamp(root, "animals/birds/hen", VALID, fr="Une poule.", ro="O găină.")
    stamp(root, "coins/one", TEST, fr="Un écu.", ro="Un ban ($.01).")
    stamp(root, "coins/two", f"{TEST}.", fr="Deux écus.")
    stamp(root, "coins/silent", "Nothing.", ro="Nimic.")
    for name in ("animals/frog", "animals/birds/hen", "coins/one"):
        sound(root, name, "_fr.ogg", levels=(0.0, 0.05))
        sound(root, name, "_ro.ogg", levels=(0.05, 0.05))
    sound(root, "coins/two", "_fr.ogg.ogg")
    sound(root, "coins/silent", "_fr.ogg")
    sound(root, "animals/nobody", "_fr.ogg")
    sound(root, "animals/frog", "_pt_BR.wav")
    sound(root, "animals/frog", ".ogg")
    (root / ROOT / "animals/frog_desc.ogg.bak").touch()
    copy = root / ROOT / "animals/frogs_desc_ro.ogg"
    stamp(root, "animals/frogs", TRAIN, ro="O broască.")
    copy.write_bytes((root / ROOT / "animals/frog_desc_ro.ogg").read_bytes())
    return root


def test_each_sound_of_a_language_is_kept_or_left_out_with_a_reason(corpus: Path, tmp_path: Path) -> None:
    prepare(RECIPE, corpus, tmp_path / "ro", "--language", "ro")
    prepare(RECIPE, corpus, tmp_path / "fr", "--language", "fr")
    check_manifests(tmp_path / "ro")
    check_manifests(tmp_path / "fr")
    assert reasons(tmp_path / "ro") == {"symbols in the text": 1, "recording used before": 1}
    assert left_out(tmp_path / "fr") == {
        "tuxpaint-fr/animals/nobody": "no description file",
        "tuxpaint-fr/coins/silent": "no description in this language",
    }
    assert manifest(tmp_path / "ro", "train")["tuxpaint-ro/animals/frog"]["text"] == "O broască."
    assert manifest(tmp_path / "fr", "test").keys() == {"tuxpaint-fr/coins/one", "tuxpaint-fr/coins/two"}


def test_a_stamp_is_in_the_same_split_in_every_language(corpus: Path, tmp_path: Path) -> None:
    for language in ("ro", "fr", "pt_BR", "en"):
        prepare(RECIPE, corpus, tmp_path / language, "--language", language)
        assert f"tuxpaint-{language}/animals/frog" in manifest(tmp_path / language, "train")
        assert manifest(tmp_path / language, "train").keys() <= {f"tuxpaint-{language}/animals/frog"}
    assert manifest(tmp_path / "pt_BR", "train")["tuxpaint-pt_BR/animals/frog"]["language"] == "pt"


def test_speech_on_the_last_channel_alone_is_read_from_it(corpus: Path, tmp_path: Path) -> None:
    prepare(RECIPE, corpus, tmp_path / "fr", "--language", "fr")
    (utterance,) = read_entries(tmp_path / "fr/train.jsonl")
    assert isinstance(utterance, Utterance)
    assert utterance.channel == 1
    assert abs(read_utterance(utterance, WINDOW)).max() > 0.01


def test_english_is_the_text_for_translation_and_has_none_itself(corpus: Path, tmp_path: Path) -> None:
    prepare(RECIPE, corpus, tmp_path / "fr", "--language", "fr")
    assert manifest(tmp_path / "fr", "valid-to-en")["tuxpaint-fr/animals/birds/hen"]["text"] == VALID
    report = prepare(RECIPE, corpus, tmp_path / "en", "--language", "en")
    assert report["translations"] == dict.fromkeys(SPLITS, 0)
    assert manifest(tmp_path / "en", "train")["tuxpaint-en/animals/frog"]["text"] == TRAIN


def test_a_language_that_nobody_speaks_is_told_with_those_that_are_spoken(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(RECIPE, ["--corpus", str(corpus), "--out", str(tmp_path / "out"), "--language", "xx"]) == 1
    assert "spoken in 'xx'; languages found: en, fr, pt_BR, ro" in capsys.readouterr().err


def test_a_folder_that_is_not_the_package_is_told_with_the_command_that_gets_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(RECIPE, ["--corpus", str(tmp_path), "--out", str(tmp_path / "out"), "--language", "ro"]) == 1
    assert "apt-get install --no-install-recommends tuxpaint-stamps-default" in capsys.readouterr().err


def test_lines_of_other_languages_and_empty_ones_are_not_read() -> None:
    description = (
        "A frog.\r\nro.utf8= O broască. \nca@valencia.utf8=Una granota.\n"
        "fr.utf8=\nro=old\nro.utf8=Altă broască.\n"
    )
    assert texts_of(description) == {
        "en": {"A frog."},
        "ro": {"O broască.", "Altă broască."},
        "ca@valencia": {"Una granota."},
    }


@pytest.mark.parametrize("name", ["fr, French", "el, Greek", "pt_BR, Brazilian children"])
def test_the_installed_package_has_what_the_readme_tells(tmp_path: Path, name: str) -> None:
    skip_without(tuxpaint_stamps_default="2022.06.04-1")
    report = prepare(RECIPE, Path("/"), tmp_path, "--language", name.partition(",")[0])
    found = check_manifests(tmp_path)
    why = reasons(tmp_path)
    fast = why["over 22 letters a second"] + why["over 8 words a second"]
    assert told(RECIPE, name) == [
        *(str(report["splits"][split]["kept"]) for split in SPLITS),
        counted(report, *SPLITS)[1],
        *(str(count or "") for count in (why["recording used before"], fast, why["symbols in the text"])),
    ]
    if name.startswith("fr"):
        assert {utterance.channel for utterance in found["train"]} == {"mix", 1}
