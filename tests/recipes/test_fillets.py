"""Fish Fillets: dialogues and sounds find each other, levels are not torn apart, all is kept or counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from recipes.debian.command import run
from recipes.entries import SPLITS
from recipes.fillets.__main__ import RECIPE
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

TRAIN, VALID, TEST = (named(split) for split in SPLITS)
ROOT = "usr/share/games/fillets-ng"


def script(root: Path, level: str, content: str, name: str = "dialogs_cs.lua") -> None:
    path = root / ROOT / "script" / level / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def sound(root: Path, level: str, name: str, **options: float) -> Path:
    # As in the packages: stereo, both channels alike.
    return write_sound(root / ROOT / "sound" / level / "cs" / f"{name}.ogg", levels=(0.05, 0.05), **options)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A miniature with what the real scripts are known for."""
    root = tmp_path / "unpacked"
    script(root, TRAIN, r"""
dialogId("lod", "font_small", "What a strange ship!")
dialogStr("To je ale divná loď!")

dialogId("oko", "font_big",
  "It is an \"eye\".")
dialogStr(
  "To je \"oko\", příteli.")
-- a comment
dialogId("plakat", "font_poster", "A poster.")
dialogStr("Plakát.")
dialogId("ne", "font_big", "No.")
dialogStr("Ne.")
dialogId("cislo", "", "")
dialogStr("")
dialogId("radek", "font_cyan", "A%1.")
dialogStr("A%1.")
dialogId("cizi", "font_big", "Nobody translated this.")
dialogId("dvakrat", "font_big", "Twice.")
dialogStr("Dvakrát.")
dialogId("dvakrat", "font_big", "Twice.")
dialogStr("Dvakrat, ale jinak.")
planTalk(name, 5)
dialogId("papousek", "font_parrot", "Aye, caramba!")
dialogStr('Krrrutý kapitán!')
""")  # fmt: skip
    for name in ("lod", "oko", "ne", "cislo", "radek", "cizi", "dvakrat", "papousek", "navic"):
        sound(root, TRAIN, name)
    script(root, VALID, 'dialogId("snad", "font_small", "Maybe.")\ndialogStr("Snad...")')
    sound(root, VALID, "snad")
    script(root, TEST, 'dialogId("ne", "font_small", "No!")\ndialogStr("NE!")')
    sound(root, TEST, "ne")
    script(
        root, TEST, 'dialogId("prazdny", "font_big", "Empty.")\ndialogStr("Prázdno.")', "demo_dialogs_cs.lua"
    )
    sound(root, TEST, "prazdny", duration_s=0.0)
    script(
        root, "share", 'dialogId("nuda", "font_big", "Boring.")\ndialogStr("Nuda.")', "bore_dialogs_cs.lua"
    )
    sound(root, "share/borejokes", "nuda")
    script(root, "share", 'dialogId("x", "font_big", "X.")\ndialogStr("X.")', "new_dialogs_cs.lua")
    script(root, TRAIN, 'dialogId("lod", "font_small", "What?")\ndialogStr("Wat?")', "dialogs_nl.lua")
    return root


def test_each_dialogue_and_each_sound_is_kept_or_left_out_with_a_reason(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare(RECIPE, corpus, out, "--language", "cs")
    check_manifests(out)
    assert reasons(out) == {
        "no sound": 1,
        "no words": 1,
        "symbols in the text": 1,
        "not translated": 1,
        "dialogue with two texts": 1,
        "no dialogue to us": 1,
        "sound without a dialogue": 1,
        "text also in test": 1,
        "under 0.1 s": 1,
        "script of an unknown place": 1,
    }
    kept = {**manifest(out, "train"), **manifest(out, "valid"), **manifest(out, "test")}
    prefix = f"fillets-cs/{TRAIN}"
    assert kept.keys() == {
        f"{prefix}/lod", f"{prefix}/oko", f"{prefix}/papousek", "fillets-cs/share/borejokes/nuda",
        f"fillets-cs/{VALID}/snad", f"fillets-cs/{TEST}/ne",
    }  # fmt: skip
    assert kept[f"{prefix}/oko"] == {
        "id": f"{prefix}/oko",
        "audio": str(corpus / ROOT / "sound" / TRAIN / "cs/oko.ogg"),
        "text": 'To je "oko", příteli.',
        "duration": 1.0,
        "speaker": "fillets-cs-big",
        "language": "cs",
        "group": TRAIN,
    }
    assert kept[f"{prefix}/papousek"]["speaker"] == "fillets-cs-parrot"
    assert left_out(out)[f"{prefix}/navic"] == "sound without a dialogue"


def test_a_level_is_in_one_split(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare(RECIPE, corpus, out, "--language", "cs")
    levels = [{line["group"] for line in manifest(out, split).values()} for split in SPLITS]
    assert levels[1:] == [{VALID}, {TEST}]
    assert TRAIN in levels[0]
    assert not levels[0] & {VALID, TEST}


def test_the_english_originals_are_texts_for_translation(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = prepare(RECIPE, corpus, out, "--language", "cs")
    assert manifest(out, "train-to-en")[f"fillets-cs/{TRAIN}/oko"]["text"] == 'It is an "eye".'
    assert report["translations"] == {split: len(manifest(out, split)) for split in SPLITS}


def test_one_character_may_be_asked_for(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = prepare(RECIPE, corpus, out, "--language", "cs", "--speaker", "fillets-cs-small")
    assert report["speakers"].keys() == {"fillets-cs-small"}
    assert reasons(out)["another speaker"] == 3


def test_the_same_package_gives_the_same_bytes(corpus: Path, tmp_path: Path) -> None:
    for name in ("first", "second"):
        prepare(RECIPE, corpus, tmp_path / name, "--language", "cs")
    for path in sorted((tmp_path / "first").iterdir()):
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes()


def test_texts_without_their_sounds_are_told(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--corpus", str(corpus), "--out", str(tmp_path / "out"), "--language", "nl"]
    assert run(RECIPE, options) == 1
    assert "the sounds in fillets-ng-data-nl" in capsys.readouterr().err


@pytest.mark.parametrize(("language", "name"), [("nl", "Dutch"), ("cs", "Czech")])
def test_the_installed_packages_have_what_the_readme_tells(tmp_path: Path, language: str, name: str) -> None:
    version = {"fillets_ng_data": "1.0.1-1.1", f"fillets_ng_data_{language}": "1.0.1-1.1"}
    skip_without(**version)
    report = prepare(RECIPE, Path("/"), tmp_path, "--language", language)
    check_manifests(tmp_path)
    for split in SPLITS:
        assert told(RECIPE, f"{name}, {split}") == [*counted(report, split), "", ""]
    speakers = [str(report["speakers"][f"fillets-{language}-{one}"]["kept"]) for one in ("big", "small")]
    assert told(RECIPE, f"{name}, all") == [*counted(report, *SPLITS), *speakers]
    column = 0 if language == "nl" else 1
    silent = told(RECIPE, "no sound (posters; characters whom no Dutch actor speaks)")[column]
    assert int(silent) == reasons(tmp_path)["no sound"]


def test_a_speaker_that_is_not_there_is_told_with_those_that_are(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--corpus", str(corpus), "--out", str(tmp_path / "out"), "--language", "cs"]
    assert run(RECIPE, [*options, "--speaker", "small"]) == 1
    assert "speakers found: fillets-cs-big, fillets-cs-parrot, fillets-cs-small" in capsys.readouterr().err
