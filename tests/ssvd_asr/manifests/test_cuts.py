"""A lhotse cut set gives one utterance a supervision; what cannot be read as one is named."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from ssvd_asr.errors import DataError
from ssvd_asr.manifests.read import read_entries
from ssvd_asr.manifests.utterances import Problem, Utterance


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
                "c2", 0.0, 4.0, 0, [segment("s2", 0.5, 1.0, "a"), segment("s3", 2.0, 2.05, "b")],
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


def test_a_supervision_is_read_from_its_channel_and_on_all_channels_mixed(tmp_path: Path) -> None:
    from lhotse import CutSet, MonoCut, Recording, SupervisionSegment
    from lhotse.cut import MultiCut

    sf.write(tmp_path / "two.wav", np.zeros((32_000, 2), np.float32), 16_000)
    two = Recording.from_file(tmp_path / "two.wav")
    sf.write(tmp_path / "three.wav", np.zeros((32_000, 3), np.float32), 16_000)
    three = Recording.from_file(tmp_path / "three.wav")
    mono = Recording.from_file(write_clip(tmp_path / "one.wav"))

    def segment(name: str, channel: int | list[int]) -> SupervisionSegment:
        return SupervisionSegment(name, "rec", 0.0, 1.0, channel=channel, text=name)

    cuts = CutSet.from_cuts(
        [
            MonoCut("one of two", 0.0, 1.0, 1, [segment("a", 1)], recording=two),
            MultiCut("part", 0.0, 1.0, [0], [segment("b", [0])], recording=two),
            MultiCut("both", 0.0, 1.0, [0, 1], [segment("c", [0, 1]), segment("d", 1)], recording=two),
            MonoCut("another", 0.0, 1.0, 0, [segment("e", 1)], recording=mono),
            MonoCut("not its own", 0.0, 1.0, 0, [segment("g", 1)], recording=two),
            MultiCut("two of three", 0.0, 1.0, [0, 1, 2], [segment("h", [0, 2])], recording=three),
            MonoCut("mono", 0.0, 1.0, 0, [segment("f", 0)], recording=mono),
        ]
    )
    cuts.to_file(tmp_path / "cuts.jsonl")
    entries = read_entries(tmp_path / "cuts.jsonl")
    channels = {entry.id: entry.channel for entry in entries if isinstance(entry, Utterance)}
    assert channels == {"one of two": 1, "part": 0, "c": "mix", "d": 1, "mono": "mix"}
    told = {entry.id: entry.detail for entry in entries if isinstance(entry, Problem)}
    assert told == {
        "another": "the supervision is on channel 1 of a cut of channel 0 of a recording with channel 0",
        "not its own": "the supervision is on channel 1 of a cut of channel 0 "
        "of a recording with channels 0, 1",
        "two of three": "the supervision is on channels 0, 2 of a recording with channels 0, 1, 2; "
        "one is read, or all mixed",
    }


def test_urls_repeated_ids_and_broken_lines_are_named(tmp_path: Path) -> None:
    from lhotse import CutSet, MonoCut, Recording, SupervisionSegment
    from lhotse.audio import AudioSource

    mono = Recording.from_file(write_clip(tmp_path / "one.wav"))
    away = Recording("away", [AudioSource("file", [0], "s3://x/a.wav")], 16_000, 16_000, 1.0)
    segment = SupervisionSegment("s", "rec", 0.0, 1.0, text="one")
    cuts = [
        MonoCut("twice", 0.0, 1.0, 0, [segment], recording=mono),
        MonoCut("away", 0.0, 1.0, 0, [segment], recording=away),
    ]
    CutSet.from_cuts(cuts).to_file(tmp_path / "cuts.jsonl")
    lines = (tmp_path / "cuts.jsonl").read_text(encoding="utf-8").splitlines()
    write = ["{", *lines, lines[0], lines[0].replace('"id"', '"id": "x", "id"', 1)]
    (tmp_path / "cuts.jsonl").write_text("\ufeff" + "\r\n".join(write), encoding="utf-8")
    assert [entry.id for entry in read_entries(tmp_path / "cuts.jsonl") if isinstance(entry, Utterance)] == [
        "twice"
    ]
    assert reasons(tmp_path / "cuts.jsonl") == {
        "cuts.jsonl:1": "malformed entry",
        "away": "unsupported source",
        "twice": "duplicate id",
        "cuts.jsonl:5": "malformed entry",
    }


@pytest.fixture
def cut(tmp_path: Path) -> dict[str, Any]:
    """A cut of two seconds as JSON."""
    from lhotse import CutSet, MonoCut, Recording, SupervisionSegment

    recording = Recording.from_file(write_clip(tmp_path / "rec.wav"))
    segment = SupervisionSegment("s", "rec", 0.0, 1.0, text="one")
    CutSet.from_cuts([MonoCut("c", 0.0, 2.0, 0, [segment], recording=recording)]).to_file(
        tmp_path / "c.jsonl"
    )
    found: dict[str, Any] = json.loads((tmp_path / "c.jsonl").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize(
    ("of_cut", "of_supervision", "told"),
    [
        ({}, {"text": ["one"]}, "the text of s must be a string"),
        ({}, {"start": "0"}, "the start of s must be seconds, found '0'"),
        ({}, {"duration": math.nan}, "the duration of s must be seconds"),
        ({"start": math.nan}, {}, "the start of c must be seconds"),
        ({"duration": math.inf}, {}, "the duration of c must be seconds"),
        ({"start": -1}, {}, "before its recording"),
        ({"surprise": 1}, {}, "unexpected keyword argument 'surprise'"),
        ({}, {"start": 1.0, "duration": 9.0}, "8.000 s of the supervision lie outside its cut"),
        ({}, {"start": -0.5}, "0.500 s of the supervision lie outside its cut"),
    ],
)
def test_values_that_lhotse_takes_unseen_are_checked(
    tmp_path: Path, cut: dict[str, Any], of_cut: dict[str, Any], of_supervision: dict[str, Any], told: str
) -> None:
    wrong = {**cut, **of_cut, "supervisions": [{**cut["supervisions"][0], **of_supervision}]}
    (tmp_path / "m.jsonl").write_text(f"{json.dumps(cut)}\n{json.dumps(wrong)}\n", encoding="utf-8")
    first, second = read_entries(tmp_path / "m.jsonl")
    assert isinstance(first, Utterance)
    assert isinstance(second, Problem)
    assert second.reason == "malformed entry"
    assert told in second.detail


def test_a_list_of_cuts_is_read_and_lhotses_other_lists_are_told(tmp_path: Path, cut: dict[str, Any]) -> None:
    (tmp_path / "m.json").write_text(json.dumps([cut], indent=1), encoding="utf-8")
    assert len(read_entries(tmp_path / "m.json")) == 1
    for part in (cut["recording"], cut["supervisions"][0]):
        (tmp_path / "m.jsonl").write_text(json.dumps(part) + "\n", encoding="utf-8")
        with pytest.raises(DataError, match="lhotse's list of recordings or of supervisions"):
            read_entries(tmp_path / "m.jsonl")
