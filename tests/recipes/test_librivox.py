"""LibriVox's sentences: one manifest, without the marks of the transcription."""

from __future__ import annotations

from pathlib import Path

import pytest

from recipes.librivox.__main__ import RECIPE
from recipes.librivox.corpus import PLACE
from tests.recipes.packages import (
    check_manifests,
    left_out,
    manifest,
    prepare,
    reasons,
    skip_without,
    write_sound,
)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "unpacked" / PLACE
    folder.mkdir(parents=True)
    (folder / "transcription").write_text(
        "<s> the small boat </s> (book_01-0001)\nit turned (book_01-0002)\n\n"
        "<s> gone </s> (book_01-0003)\n<s> nobody </s>\n",
        encoding="utf-8",
    )
    for name in ("book_01-0001", "book_01-0002", "book_01-0009"):
        write_sound(folder / f"{name}.wav")
    return tmp_path / "unpacked"


def test_each_line_and_each_sound_is_kept_or_left_out_with_a_reason(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare(RECIPE, corpus, out)
    check_manifests(out, ("test",))
    assert reasons(out) == {"no sound": 1, "line that names no recording": 1, "sound without a text": 1}
    assert left_out(out)["librivox/book_01-0009"] == "sound without a text"
    texts = {identity: line["text"] for identity, line in manifest(out, "test").items()}
    assert texts == {"librivox/book_01-0001": "the small boat", "librivox/book_01-0002": "it turned"}
    assert manifest(out, "test")["librivox/book_01-0001"]["speaker"] == "book_01"


def test_there_is_no_manifest_for_training(corpus: Path, tmp_path: Path) -> None:
    prepare(RECIPE, corpus, tmp_path / "out")
    assert not (tmp_path / "out/train.jsonl").exists()


def test_the_installed_package_has_five_sentences_as_they_are_read(tmp_path: Path) -> None:
    skip_without(pocketsphinx_testdata="0.8+5prealpha+1-15")
    report = prepare(RECIPE, Path("/"), tmp_path)
    (split,) = check_manifests(tmp_path, ("test",)).values()
    assert report["splits"]["test"]["kept"] == 5
    assert any("had he married a more amiable woman" in utterance.text for utterance in split)
