"""The report names every entry that is left out, and what is used but sounds or reads wrong."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from ssvd_asr.errors import DataError
from ssvd_asr.manifests.utterances import Utterance
from tests.training.conftest import write_manifest
from tests.training.runs import MakeSession
from training.corpus.report import (
    DataReport,
    Doubt,
    TooFewUsableError,
    check_usable,
    doubts_of,
    other_texts,
    tags_of,
)
from training.loop.run import REPORT_FILE

SECOND = np.arange(16_000) / 16_000
UTTERANCE = Utterance("u", Path("a.wav"), "one two")


def kinds(wave: np.ndarray, utterance: Utterance = UTTERANCE) -> list[str]:
    return [doubt.kind for doubt in doubts_of(utterance, wave.astype(np.float32))]


def test_silent_and_clipped_audio_are_told() -> None:
    speech = np.random.default_rng(0).laplace(scale=0.05, size=16_000).clip(-0.98, 0.98)
    assert kinds(speech) == []
    assert kinds(speech * 0.02 / np.abs(speech).max()) == []  # soft, at -34 dB
    assert kinds(np.zeros(16_000)) == kinds(speech * 0.0009 / np.abs(speech).max()) == ["silent audio"]
    assert kinds((speech * 20).clip(-1, 1)) == ["clipped audio"]
    loud = speech / np.abs(speech).max()  # only its peak is at full scale
    assert kinds(loud) == []


def test_what_reading_the_audio_told_is_a_doubt_once() -> None:
    wave = (0.1 * np.sin(SECOND)).astype(np.float32)
    told = [
        "The samples have an offset of +0.300 of full scale, which was removed",
        "The recording is clipped",
    ]
    found = doubts_of(UTTERANCE, wave, told)
    assert [(doubt.kind, doubt.detail) for doubt in found] == [
        ("mended audio", told[0]),
        ("clipped audio", told[1]),
    ]
    assert kinds(np.resize([1.0, -1.0], 16_000)) == ["clipped audio"]
    both = doubts_of(UTTERANCE, np.resize([1.0, -1.0], 16_000).astype(np.float32), told[1:])
    assert [doubt.kind for doubt in both] == ["clipped audio"]


def test_one_audio_with_two_texts_is_a_doubt() -> None:
    def said(name: str, text: str, start_s: float = 0.0) -> Utterance:
        return Utterance(name, Path("a.wav"), text, start_s, 1.0)

    found = other_texts(
        [said("a", "one two"), said("b", "One two."), said("c", "three"), said("d", "x", 1.0)]
    )
    assert [(doubt.id, doubt.kind, doubt.detail) for doubt in found] == [
        ("c", "other text", "a has the same audio, and the text 'one two'")
    ]


def test_tags_are_counted_and_missing_words_are_doubts() -> None:
    doubtful = Utterance("u", Path("a.wav"), "one two", doubts=("(maybe) is no known tag and stays",))
    assert kinds(0.1 * np.sin(SECOND), doubtful) == ["brackets in the text"]
    some = [
        Utterance("a", Path("a"), "x", tags=("<noise>", "[cough]")),
        Utterance("b", Path("b"), "y", tags=("<noise>",)),
    ]
    assert tags_of(some) == {"<noise>": 2, "[cough]": 1}
    report = DataReport("m", 2, 2, 2.0, (), (), tags_of(some))
    assert "3 tags dropped from the texts (<noise> 2, [cough] 1)" in report.summary()
    assert json.loads(json.dumps(report.as_json()))["tags"] == {"<noise>": 2, "[cough]": 1}


def test_the_summary_counts_utterances_and_not_doubts() -> None:
    doubts = [Doubt(name, "a.wav", "told", "brackets in the text") for name in ("a", "a", "b")]
    summary = DataReport("m", 2, 2, 2.0, (), tuple(doubts)).summary()
    assert "  2 used, but with words missing, or brackets that are no known tag\n" in summary


def test_too_few_usable_carries_the_whole_report() -> None:
    report = DataReport("m", 2, 1, 1.0, ())
    with pytest.raises(TooFewUsableError) as raised:
        check_usable(report, 2)
    assert isinstance(raised.value, DataError)
    assert raised.value.report is report


def test_a_run_that_is_stopped_by_min_usable_has_written_every_entry_left_out(
    session: MakeSession, tmp_path: Path
) -> None:
    sf.write(tmp_path / "good.wav", np.resize([0.1, -0.1], 16_000), 16_000)
    sf.write(tmp_path / "silent.wav", np.zeros(16_000), 16_000)
    lines = [
        {"id": "good", "audio": "good.wav", "text": "the <noise> old"},
        {"id": "silent", "audio": "silent.wav", "text": "the old"},
        {"id": "event", "audio": "good.wav", "text": "[noise] ..."},
        *({"id": f"missing-{i}", "audio": "none.wav", "text": "the"} for i in range(5)),
    ]
    data = write_manifest(tmp_path / "m.jsonl", lines)
    with pytest.raises(DataError, match="2 of 8 utterances are usable"):
        session(data=data, min_usable=3).run()
    report = json.loads((tmp_path / "run" / REPORT_FILE).read_text(encoding="utf-8"))["train"]
    assert "2 of 8" in report["error"]
    assert [problem["id"] for problem in report["problems"]] == ["event", *(f"missing-{i}" for i in range(5))]
    assert report["counts"] == {"empty text": 1, "missing file": 5}
    assert [(doubt["id"], doubt["kind"]) for doubt in report["warnings"]] == [("silent", "silent audio")]
    assert report["tags"] == {"<noise>": 1, "[noise]": 1}


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """A manifest of four usable utterances in a folder whose name is not UTF-8."""
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    folder.mkdir()
    with (folder / "stereo.wav").open("wb") as stream:
        inverted = np.sin(2 * np.pi * 300 * SECOND)[:, np.newaxis] * [0.1, -0.1]
        sf.write(stream, inverted, 16_000, format="WAV")
    lines = [{"audio": "stereo.wav", "text": text} for text in ("the old", "the old", "old", "the")]
    return write_manifest(folder / "m.jsonl", lines)


def test_a_report_holds_any_name_and_all_that_looks_wrong(session: MakeSession, good: Path) -> None:
    run = session(data=good, valid=good, test=good)
    run.load_data()
    report = json.loads((run.settings.out / REPORT_FILE).read_text(encoding="utf-8"))
    for role in ("train", "valid", "test"):
        kinds = [doubt["kind"] for doubt in report[role]["warnings"]]
        assert kinds == [*["mended audio"] * 4, "other text", "other text"]
        assert "cancels" in report[role]["warnings"][0]["detail"]
    assert os.fsencode(report["train"]["source"]) == os.fsencode(good)


def test_test_data_that_cannot_be_scored_stop_the_run_before_it_trains(
    session: MakeSession, good: Path, tmp_path: Path
) -> None:
    lines = [{"audio": "none.wav", "text": "the"}, {"odio": "a.wav"}]
    test = write_manifest(tmp_path / "test.jsonl", lines)
    run = session(data=good, valid=good, test=test)
    with pytest.raises(DataError, match="0 of 2 utterances are usable"):
        run.run()
    report = json.loads((run.settings.out / REPORT_FILE).read_text(encoding="utf-8"))
    assert report["test"]["counts"] == {"malformed entry": 1, "missing file": 1}
    assert report["train"]["usable"] == 4
    assert not list(run.settings.out.glob("*.safetensors"))
