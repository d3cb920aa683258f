"""CGN: its own annotation is read, a speaker is in one split, and whatever is not kept is counted."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from recipes.cgn.__main__ import RECIPE
from recipes.cgn.corpus import split_of
from recipes.paper.command import run
from ssvd_asr.manifests.read import read_entries
from ssvd_asr.manifests.utterances import Utterance
from tests.recipes.conftest import SHORT, write_noise
from tests.recipes.praat import Labels, short_textgrid


def speaker_of(split: str, region: str = "N") -> str:
    """The first speaker's code that our rule puts there."""
    return next(code for code in (f"{region}{n:05d}" for n in range(1000)) if split_of(code) == split)


TRAIN, VALID, TEST = (speaker_of(split) for split in ("train", "valid", "test"))
FLEMISH = speaker_of("train", "V")


def recording(
    root: Path, where: str, tiers: dict[str, Labels], *, duration_s: float = 6.0, channels: int = 1,
    rate_hz: int = 16_000, zipped: bool = True, encoding: str = "latin-1",
) -> None:  # fmt: skip
    """A recording and its annotation; ``where`` is like comp-a/nl/fn000001."""
    write_noise(root / "data/audio/wav" / f"{where}.wav", duration_s, channels=channels, rate_hz=rate_hz)
    content = short_textgrid(tiers, duration_s).encode(encoding)
    path = root / "data/annot/text/ort" / f"{where}.ort{'.gz' if zipped else ''}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content) if zipped else content)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A miniature of CGN 2.0 with what its annotation is known for."""
    root = tmp_path / "CGN_2.0.3"
    recording(root, "comp-a/nl/fn000001", {
        TRAIN: [(0.0, 1.5, "the small boat*d. ggg"), (1.5, 2.5, "xxx turned slowly."), (3.0, 4.0, "ggg.")],
        TEST: [(1.0, 2.0, "seven green birds*z?"), (4.0, 5.0, "old stone bri*a ...")],
        "UNKNOWN": [(5.0, 6.0, "near the hill.")],
        "BACKGROUND": [(0.5, 1.0, "deur")],
        "COMMENT": [],
    })  # fmt: skip
    recording(root, "comp-b/vl/fv400001", {FLEMISH: [(0.0, 31.0, "far too long."),
              (31.5, 33.0, "één café.")]}, duration_s=34.0, zipped=False)  # fmt: skip
    recording(root, "comp-o/nl/fn000002", {
        VALID: [(0.0, 1.2, "nobody knows why."), (1.2, 2.4, 'so "he" said')],
        TEST: [(2.5, 3.5, "the old stone bridge.")],
    })  # fmt: skip
    recording(root, "comp-o/nl/fn000003", {TRAIN: [(0.5, 1.0, "the river"), (5.5, 8.0, "beyond the end")]})
    path = root / "data/annot/text/ort/comp-o/nl/fn000003.ort.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b"\n", b"\r\n")))
    # Telephone speech: stereo at 8 kHz, a speaker a channel; the paper leaves it out.
    telephone = {TRAIN: [(0.0, 1.0, "hello hello"), (1.0, 2.0, "yes")]}
    recording(root, "comp-c/vl/fv700001", telephone, channels=2, rate_hz=8_000)
    recording(root, "comp-f/nl/fn000009", {TEST: [(0.0, 1.0, "dear viewers")]})
    # Each of a pair may be missing or broken.
    recording(root, "comp-k/nl/fn000010", {TRAIN: [(0.0, 1.0, "the news")]})
    (root / "data/audio/wav/comp-k/nl/fn000010.wav").unlink()
    recording(root, "comp-k/nl/fn000011", {})
    (root / "data/annot/text/ort/comp-k/nl/fn000011.ort.gz").unlink()
    recording(root, "comp-k/nl/fn000012", {TRAIN: [(0.0, 1.0, "cut off")]}, zipped=False)
    cut = root / "data/annot/text/ort/comp-k/nl/fn000012.ort"
    cut.write_bytes(cut.read_bytes()[:-40])
    recording(root, "comp-k/nl/fn000013", {TRAIN: [(0.0, 1.0, "no sound")]})
    (root / "data/audio/wav/comp-k/nl/fn000013.wav").write_bytes(b"RIFF")
    return root


def prepare(corpus: Path, out: Path, *options: str) -> dict[str, Any]:
    assert run(RECIPE, ["--corpus", str(corpus), "--out", str(out), *options]) == 0
    report: dict[str, Any] = json.loads((out / "report.json").read_text(encoding="utf-8"))
    return report


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_labelled_interval_is_in_a_manifest_or_left_out_with_a_reason(
    corpus: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    report = prepare(corpus, out)
    assert Counter(line["reason"] for line in lines(out / "left-out.jsonl")) == {
        "component c": 2,
        "component f": 1,
        "no speech (BACKGROUND, COMMENT)": 1,
        "unknown speaker": 1,
        "unintelligible (xxx)": 1,
        "no words": 1,
        "over 30 s": 1,
        "outside the recording": 1,
        "no audio": 1,
        "unreadable audio": 1,
        "recording without annotation": 1,
        "unreadable annotation": 1,
    }
    assert {split: row["kept"] for split, row in report["splits"].items()} == {
        "train": 3, "valid": 2, "test": 3, "none": 0,
    }  # fmt: skip
    assert sum(row["found"] for row in report["splits"].values()) == 8 + 13
    assert report["splits"]["train"]["kept_in_paper"] == 179_440


def test_the_trainer_cuts_the_recordings_where_the_annotation_does(corpus: Path, tmp_path: Path) -> None:
    prepare(corpus, tmp_path / "out")
    entries = read_entries(tmp_path / "out" / "train.jsonl")
    found = [(e.text, e.start_s, e.duration_s) for e in entries if isinstance(e, Utterance)]
    assert found == [("the small boat", 0.0, 1.5), ("één café", 31.5, 1.5), ("the river", 0.5, 0.5)]
    valid = read_entries(tmp_path / "out" / "valid.jsonl")
    assert [e.text for e in valid if isinstance(e, Utterance)] == ["nobody knows why", "so he said"]


def test_no_speaker_is_in_two_splits_and_the_rule_is_said_to_be_ours(corpus: Path, tmp_path: Path) -> None:
    report = prepare(corpus, tmp_path / "out")
    assert report["speakers_in_two_splits"] == []
    assert any("OUR SPLIT" in note for note in report["notes"])
    for split, speakers in (("train", {TRAIN, FLEMISH}), ("valid", {VALID}), ("test", {TEST})):
        assert {line["speaker"] for line in lines(tmp_path / "out" / f"{split}.jsonl")} == speakers


def test_the_split_by_speaker_has_the_papers_shares() -> None:
    counts = Counter(split_of(f"N{number:05d}") for number in range(4_000))
    # Standard deviations of such counts are below 0.8 %.
    assert counts["train"] / 4_000 == pytest.approx(0.7, abs=0.03)
    assert counts["valid"] / 4_000 == pytest.approx(0.1, abs=0.02)
    assert counts["test"] / 4_000 == pytest.approx(0.2, abs=0.03)


def test_overlapping_speech_is_counted_and_left_out_when_asked(corpus: Path, tmp_path: Path) -> None:
    report = prepare(corpus, tmp_path / "all")
    assert any("someone else speaks kept (2)" in note for note in report["notes"])
    report = prepare(corpus, tmp_path / "alone", "--drop-overlap")
    left_out = lines(tmp_path / "alone" / "left-out.jsonl")
    overlapped = [line["detail"] for line in left_out if line["reason"] == "someone else speaks"]
    assert overlapped == ["the small boat*d. ggg", "seven green birds*z?"]
    assert report["splits"]["train"]["kept"] == 2


def test_short_utterances_are_left_out_when_asked(corpus: Path, tmp_path: Path) -> None:
    report = prepare(corpus, tmp_path / "out", "--min-words", "3")
    assert report["splits"]["train"]["left_out"]["under 3 words"] == 2


def test_the_annotation_may_lie_in_a_folder_of_its_own(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere" / "data").mkdir(parents=True)
    (corpus / "data/annot").rename(tmp_path / "elsewhere/data/annot")
    report = prepare(corpus, tmp_path / "out", "--annotations", str(tmp_path / "elsewhere"))
    assert report["splits"]["train"]["kept"] == 3


def test_another_folder_is_refused_with_what_was_expected_where(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refusal(folder: Path) -> str:
        assert run(RECIPE, ["--corpus", str(folder), "--out", str(tmp_path / "out")]) == 1
        return capsys.readouterr().err

    (tmp_path / "empty" / "data/audio/wav/comp-a/nl").mkdir(parents=True)
    assert "holds no recording of CGN" in refusal(tmp_path / "empty")
    assert "does not exist" in refusal(tmp_path / "nowhere")
    (corpus / "data/annot").rename(corpus / "data/annotation")
    message = refusal(corpus)
    assert "expected data/annot/text/ort/comp-[a-o]/{nl,vl}/RECORDING.ort.gz or .ort" in message
    assert f"there is no {corpus / 'data/annot/text/ort'}" in message


def test_from_the_corpus_to_an_adapter_and_the_papers_row_beside_it(
    corpus: Path, tmp_path: Path, random_base: Path
) -> None:
    out = tmp_path / "out"
    command = ["--corpus", str(corpus), "--out", str(out), "--train", "1b", "--run", "try", "--k", "4"]
    assert run(RECIPE, [*command, "--base", str(random_base), "--device", "cpu", *SHORT]) == 0
    result = json.loads((out / "runs/try/result.json").read_text())
    assert (result["domain"], result["language"], result["evaluated_utterances"]) == ("cgn", "<nld>", 3)
    assert result["data"]["valid"]["utterances"] == 2
    found = json.loads((out / "comparison.json").read_text())
    zero = next(row for row in found["rows"] if row["method"] == "zero-shot")
    assert (zero["size"], zero["wer_paper"], zero["wer"]) == ("1b", 46.3, result["wer_before"])
    assert "OUR SPLIT" in (out / "comparison.md").read_text()
