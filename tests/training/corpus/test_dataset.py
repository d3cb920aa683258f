"""Bad data is named and counted; what is left is exactly what is trained on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from ssvd_asr.base.model import BaseModel
from ssvd_asr.errors import DataError
from ssvd_asr.manifests.utterances import Utterance
from tests.training.conftest import write_manifest
from training.corpus.dataset import Dataset, Rules, load_dataset
from training.corpus.prompts import PromptSymbols
from training.corpus.report import unusual_rate


@pytest.fixture
def rules(base: BaseModel) -> Rules:
    return Rules(base.tokens, PromptSymbols.of(base.window, base.tokens), base.config.window_s, 36)


def load(source: Path, rules: Rules, **options: object) -> Dataset:
    return load_dataset(source, rules, progress=False, **{"cache_bytes": 2**30, **options})  # type: ignore[arg-type]


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """Two good utterances and one of each kind of bad ones."""

    def clip(name: str, seconds: float, rate: int = 16_000) -> str:
        noise = np.random.default_rng(0).uniform(-0.5, 0.5, round(seconds * rate))
        sf.write(tmp_path / name, noise, rate)
        return name

    (tmp_path / "noise.wav").write_bytes(b"this is text, not sound")
    good, text = clip("good.wav", 2.0), "the small boat"
    return write_manifest(
        tmp_path / "m.jsonl",
        [
            {"id": "good", "audio": good, "text": text},
            {
                "id": "part",
                "audio": clip("long.flac", 9.0, 44_100),
                "text": text,
                "start_s": 5,
                "duration_s": 2,
            },
            {"id": "gone", "audio": "gone.wav", "text": text},
            {"id": "blank", "audio": good, "text": " \t"},
            {"id": "long", "audio": "long.flac", "text": text},
            {"id": "noise", "audio": "noise.wav", "text": text},
            {"id": "folder", "audio": ".", "text": text},
            {"id": "click", "audio": clip("click.wav", 0.05), "text": text},
            {"id": "greek", "audio": good, "text": "the αβγ boat"},
            {"id": "novel", "audio": good, "text": text * 20},
            "broken",
        ],
    )


def test_every_kind_of_bad_data_is_named_and_the_rest_is_used(damaged: Path, rules: Rules) -> None:
    data = load(damaged, rules)
    assert [sample.utterance.id for sample in data.samples] == ["good", "part"]
    assert {problem.id: problem.reason for problem in data.report.problems} == {
        "gone": "missing file",
        "blank": "empty text",
        "long": "too long for the window",
        "noise": "unreadable audio",
        "folder": "unreadable audio",
        "click": "too short",
        "greek": "text outside the vocabulary",
        "novel": "text too long for the CTC",
        "m.jsonl:11": "malformed entry",
    }
    assert data.report.total == 11
    assert data.report.usable == 2
    assert sum(data.report.counts.values()) == 9
    stored = json.loads(json.dumps(data.report.as_json()))
    assert len(stored["problems"]) == 9
    for problem in data.report.problems:
        assert problem.reason in data.report.summary()
        assert problem.id in data.report.summary()


@pytest.mark.parametrize(("minimum", "stops"), [(2, False), (3, True), (0.18, False), (0.19, True)])
def test_the_run_stops_only_below_min_usable(
    damaged: Path, rules: Rules, minimum: int | float, stops: bool
) -> None:
    if stops:
        with pytest.raises(DataError, match=r"2 of 11 .*--min-usable"):
            load(damaged, rules, min_usable=minimum)
    else:
        assert load(damaged, rules, min_usable=minimum).report.usable == 2


def test_nothing_usable_always_stops(tmp_path: Path, rules: Rules) -> None:
    source = write_manifest(tmp_path / "m.jsonl", [{"audio": "gone.wav", "text": "the"}])
    with pytest.raises(DataError, match="0 of 1"):
        load(source, rules, min_usable=0)


def test_audio_is_the_same_bits_from_memory_and_from_the_file(corpus: Path, rules: Rules) -> None:
    held = load(corpus / "train.jsonl", rules)
    read = load(corpus / "train.jsonl", rules, cache_bytes=0)
    some = load(corpus / "train.jsonl", rules, cache_bytes=200_000)
    assert not read.cached
    assert len(some.cached) not in (0, len(held.cached))
    assert held.digest == read.digest == some.digest
    for index in range(len(held.samples)):
        np.testing.assert_array_equal(held.wave(index), read.wave(index))


def test_a_file_that_changes_during_the_run_is_noticed(tmp_path: Path, rules: Rules) -> None:
    sf.write(tmp_path / "a.wav", np.tile([0.1, -0.1], 8_000), 16_000)
    data = load(
        write_manifest(tmp_path / "m.jsonl", [{"audio": "a.wav", "text": "the"}]), rules, cache_bytes=0
    )
    sf.write(tmp_path / "a.wav", np.tile([0.2, -0.2], 8_000), 16_000)
    with pytest.raises(DataError, match="changed"):
        data.wave(0)


def test_the_digest_follows_text_audio_and_order(corpus: Path, tmp_path: Path, rules: Rules) -> None:
    lines = [json.loads(line) for line in (corpus / "train.jsonl").read_text().splitlines()]
    for line in lines:
        line["audio"] = str(corpus / line["audio"])

    def digest(changed: list[object]) -> str:
        return load(write_manifest(tmp_path / "m.jsonl", changed), rules).digest

    original = digest(lines)
    assert original == load(corpus / "train.jsonl", rules).digest
    assert digest(lines[::-1]) != original
    assert digest([{**lines[0], "text": "the"}, *lines[1:]]) != original
    assert digest([{**lines[0], "duration_s": 0.5}, *lines[1:]]) != original


def test_too_many_or_too_few_words_are_a_warning_and_are_used(tmp_path: Path, rules: Rules) -> None:
    sf.write(tmp_path / "short.wav", np.resize([0.1, -0.1], 8_000), 16_000)
    sf.write(tmp_path / "mid.wav", np.resize([0.1, -0.1], 16_000), 16_000)
    lines = [
        {"id": "fast", "audio": "short.wav", "text": "the the the the the"},
        {"id": "usual", "audio": "mid.wav", "text": "the the"},
    ]
    report = load(write_manifest(tmp_path / "m.jsonl", lines), rules).report
    assert (report.usable, report.problems) == (2, ())
    (warning,) = json.loads(json.dumps(report.as_json()))["warnings"]
    assert warning["id"] == "fast"
    assert warning["detail"] == "5 words in 0.50 s, 10 words a second"
    assert "fast: 5 words in 0.50 s" in report.summary()


@pytest.mark.parametrize(
    ("text", "audio_s", "doubted"),
    [
        ("one", 10.0, False),
        ("one", 10.1, True),
        ("a b c d e f g h", 1.0, False),
        ("a b c d e f g h i", 1.0, True),
        ("字" * 40, 20.0, False),
    ],
)
def test_the_limits_of_the_rate_of_words(text: str, audio_s: float, doubted: bool) -> None:
    assert (unusual_rate(Utterance("u", Path("a.wav"), text), audio_s) is not None) == doubted
