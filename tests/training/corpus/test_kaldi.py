"""A Kaldi directory gives its utterances; what is not understood is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile as sf

from training.corpus.manifests import read_entries
from training.corpus.utterances import Problem, Utterance


def write_clip(path: Path, seconds: float = 2.0) -> Path:
    sf.write(path, np.zeros(round(16_000 * seconds), np.float32), 16_000)
    return path


def reasons(source: Path) -> dict[str, str]:
    return {entry.id: entry.reason for entry in read_entries(source) if isinstance(entry, Problem)}


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
