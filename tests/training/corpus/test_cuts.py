"""A lhotse cut set gives one utterance a supervision; what cannot be read as one is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from training.corpus.manifests import read_entries
from training.corpus.utterances import Problem, Utterance


def write_clip(path: Path, seconds: float = 2.0) -> Path:
    sf.write(path, np.zeros(round(16_000 * seconds), np.float32), 16_000)
    return path


def reasons(source: Path) -> dict[str, str]:
    return {entry.id: entry.reason for entry in read_entries(source) if isinstance(entry, Problem)}


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
