"""What two sets share is counted: overlapping sections of a file, and texts."""

from __future__ import annotations

import random
from pathlib import Path

from ssvd_asr.manifests.utterances import PackedAudio, Utterance
from training.corpus.shared import shared_between, shared_lines


def said(audio: str, text: str, start_s: float = 0.0, duration_s: float | None = None) -> Utterance:
    return Utterance(f"{audio} {text} {start_s}", Path(audio), text, start_s, duration_s)


def test_shared_audio_and_texts_are_counted_for_each_two_sets(tmp_path: Path) -> None:
    inside = str(tmp_path / "folder" / ".." / "a.wav")
    shared = shared_between(
        {
            "train": [said(str(tmp_path / "a.wav"), "One two.", 1.0, 2.0), said("b.wav", "three")],
            "valid": [said(inside, "four", 2.9, 1.0), said(inside, "one  two", 3.0, 1.0), said("c.wav", "")],
            "test": [said("b.wav", "three", 100.0), said("d.wav", "six"), said("e.wav", "")],
        }
    )
    assert shared == {
        "train and valid": {"audio": 1, "texts": 1},
        "train and test": {"audio": 1, "texts": 1},
        "valid and test": {"audio": 0, "texts": 0},
    }
    assert shared_lines(shared) == [
        "train and valid share the audio of 1 and the texts of 1 utterances",
        "train and test share the audio of 1 and the texts of 1 utterances",
    ]


def test_overlaps_equal_those_of_all_pairs() -> None:
    generator = random.Random(3)

    def sections(count: int) -> list[Utterance]:
        return [
            said("a.wav", str(n), generator.randint(0, 60), generator.randint(1, 4)) for n in range(count)
        ]

    for _ in range(50):
        first, second = sections(6), sections(12)
        expected = sum(
            any(
                a.start_s < b.start_s + (b.duration_s or 0) and b.start_s < a.start_s + (a.duration_s or 0)
                for a in first
            )
            for b in second
        )
        assert shared_between({"x": first, "y": second})["x and y"]["audio"] == expected


def test_a_copy_under_another_name_is_the_same_audio(tmp_path: Path) -> None:
    content = bytes(range(256)) * 1000
    (tmp_path / "a.wav").write_bytes(content)
    (tmp_path / "copy.wav").write_bytes(content)
    (tmp_path / "link.wav").symlink_to(tmp_path / "a.wav")
    (tmp_path / "other.wav").write_bytes(content[:-1] + b"x")  # as long, and the same but for its end
    (tmp_path / "loop.wav").symlink_to(tmp_path / "loop.wav")
    names = ("copy", "link", "other", "loop", "none")
    others = [said(str(tmp_path / f"{name}.wav"), name, 0.5, 1.0) for name in names]
    shared = shared_between({"train": [said(str(tmp_path / "a.wav"), "x", 0.0, 1.0)], "test": others})
    assert shared == {"train and test": {"audio": 2, "texts": 0}}
    packed = [
        Utterance(name, PackedAudio(tmp_path / f"{name}.wav", 0, row, "audio"), name)
        for name, row in (("a", 0), ("copy", 0), ("copy", 1))
    ]
    assert shared_between({"x": packed[:1], "y": packed[1:]})["x and y"]["audio"] == 1
