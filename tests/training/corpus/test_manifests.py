"""Every kind of data becomes the same utterances; what cannot is named, line by line."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from ssvd_asr.errors import DataError
from tests.training.conftest import write_manifest
from training.corpus.manifests import read_entries
from training.corpus.utterances import Problem, Utterance


def write_clip(path: Path, seconds: float = 2.0) -> Path:
    sf.write(path, np.zeros(round(16_000 * seconds), np.float32), 16_000)
    return path


def reasons(source: Path) -> dict[str, str]:
    return {entry.id: entry.reason for entry in read_entries(source) if isinstance(entry, Problem)}


def test_jsonl_gives_utterances_with_paths_relative_to_its_folder(tmp_path: Path) -> None:
    source = write_manifest(
        tmp_path / "m.jsonl",
        [
            {"audio": "a.wav", "text": "one"},
            "",
            {
                "audio": "/abs/b.wav",
                "text": "two",
                "start_s": 1,
                "duration_s": 2.5,
                "speaker": "s",
                "id": "x",
                "other": 1,
            },
        ],
    )
    assert read_entries(source) == [
        Utterance("m.jsonl:1", tmp_path / "a.wav", "one"),
        Utterance("x", Path("/abs/b.wav"), "two", 1.0, 2.5, "s"),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "not json",
        "[1]",
        '{"text": "no audio"}',
        '{"audio": 3, "text": "x"}',
        '{"audio": "a", "text": null}',
        '{"audio": "a", "text": "x", "start_s": -1}',
        '{"audio": "a", "text": "x", "start_s": NaN}',
        '{"audio": "a", "text": "x", "start_s": true}',
        '{"audio": "a", "text": "x", "duration_s": 0}',
        '{"audio": "a", "text": "x", "duration_s": "3"}',
    ],
)
def test_a_malformed_line_is_named_and_the_others_are_read(tmp_path: Path, line: str) -> None:
    source = write_manifest(tmp_path / "m.jsonl", [line, {"audio": "a.wav", "text": "one"}])
    first, second = read_entries(source)
    assert isinstance(first, Problem)
    assert first.reason == "malformed entry"
    assert first.id == "m.jsonl:1"
    assert isinstance(second, Utterance)


def test_what_is_no_data_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no data at"):
        read_entries(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match="not a kind of data"):
        read_entries(write_clip(tmp_path / "a.wav"))
    with pytest.raises(DataError, match=r"no wav\.scp"):
        read_entries(tmp_path)
    binary = tmp_path / "b.jsonl"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="UTF-8"):
        read_entries(binary)
    (tmp_path / "c.jsonl.gz").write_bytes(b"no gzip")
    with pytest.raises(DataError, match="not readable"):
        read_entries(tmp_path / "c.jsonl.gz")


def test_kaldi_directory_with_segments(tmp_path: Path) -> None:
    write_clip(tmp_path / "rec.wav")
    (tmp_path / "wav.scp").write_text(f"rec rec.wav\nabs {tmp_path}/rec.wav\npipe sox a.wav -t wav - |\n")
    (tmp_path / "segments").write_text(
        "u1 rec 0.5 1.5\nu2 abs 0.0 -1\nu3 pipe 0 1\nu4 gone 0 1\nu5 rec 2 1\nu6 rec x y\nu7 rec 0 1\n"
    )
    (tmp_path / "text").write_text("u1 hello there\nu2 two\nu3 c\nu4 d\nu5 e\nu6 f\nu9 lost\n")
    (tmp_path / "utt2spk").write_text("u1 anna\n")
    found = [entry for entry in read_entries(tmp_path) if isinstance(entry, Utterance)]
    assert found == [
        Utterance("u1", tmp_path / "rec.wav", "hello there", 0.5, 1.0, "anna"),
        Utterance("u2", tmp_path / "rec.wav", "two", 0.0, None),
    ]
    assert reasons(tmp_path) == {
        "u3": "unsupported source",
        "u4": "missing file",
        "u5": "malformed entry",
        "u6": "malformed entry",
        "u7": "empty text",
        "u9": "missing file",
    }


def test_kaldi_directory_without_segments_takes_whole_files(tmp_path: Path) -> None:
    (tmp_path / "wav.scp").write_text("a /data/with space/a.wav\nb /data/b.wav\n")
    (tmp_path / "text").write_text("a one\nb\n")
    assert read_entries(tmp_path) == [
        Utterance("a", Path("/data/with space/a.wav"), "one"),
        Utterance("b", Path("/data/b.wav"), ""),
    ]


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz"])
def test_lhotse_cuts_give_one_utterance_a_supervision(tmp_path: Path, suffix: str) -> None:
    from lhotse import CutSet, MonoCut, Recording, SupervisionSegment

    recording = Recording.from_file(write_clip(tmp_path / "rec.wav", 4.0))

    faster = recording.perturb_speed(1.1)

    def segment(name: str, start: float, duration: float, text: str | None) -> SupervisionSegment:
        return SupervisionSegment(name, "rec", start, duration, text=text, speaker="s")

    cuts = CutSet.from_cuts(
        [
            MonoCut("c1", 1.0, 2.0, 0, [segment("s1", 0.0, 2.0, "one")], recording=recording),
            MonoCut(
                "c2", 0.0, 4.0, 0, [segment("s2", 0.5, 1.0, "a"), segment("s3", 2.0, 9.0, "b")],
                recording=recording,
            ),
            MonoCut("c3", 0.0, 1.0, 0, [], recording=recording),
            MonoCut("c4", 0.0, 1.0, 0, [segment("s4", 0.0, 1.0, "x")]),
            MonoCut("c5", 0.0, 1.0, 0, [segment("s5", 0.0, 1.0, "x")], recording=faster),
        ]
    )  # fmt: skip
    source = tmp_path / f"cuts{suffix}"
    cuts.to_file(source)
    found = [entry for entry in read_entries(source) if isinstance(entry, Utterance)]
    audio = tmp_path / "rec.wav"
    assert found == [
        Utterance("c1", audio, "one", 1.0, 2.0, "s"),
        Utterance("s2", audio, "a", 0.5, 1.0, "s"),
        Utterance("s3", audio, "b", 2.0, 2.0, "s"),
    ]
    assert sorted(reasons(source).values()) == ["empty text", "unsupported source", "unsupported source"]


def test_a_gzipped_manifest_is_no_cut_set(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "m.jsonl.gz", "wt") as stream:
        stream.write('{"audio": "a.wav", "text": "one"}\n')
    assert read_entries(tmp_path / "m.jsonl.gz") == [Utterance("m.jsonl.gz:1", tmp_path / "a.wav", "one")]
