"""Kept and left-out utterances, and the files that hold them.

OUT/train.jsonl, valid.jsonl and test.jsonl are manifests for `ssvd train`. OUT/left-out.jsonl names every
other utterance with its reason. OUT/report.json, written last, counts both beside the paper's figures.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

from recipes.paper.figures import DATA
from ssvd_asr.scoring import normalise

SPLITS = ("train", "valid", "test")
NO_SPLIT = "none"  # for an utterance left out before its split is known
REPORT_FILE = "report.json"
LEFT_OUT_FILE = "left-out.jsonl"


@dataclass(frozen=True)
class Kept:
    """One line of a manifest. With ``start_s`` None the utterance is the whole file."""

    id: str
    split: str
    audio: Path
    text: str
    speaker: str
    duration_s: float
    start_s: float | None = None

    def line(self) -> dict[str, Any]:
        """Return the line as `ssvd_asr.manifests.read` reads it."""
        line: dict[str, Any] = {"id": self.id, "audio": str(self.audio), "text": self.text}
        if self.start_s is not None:
            line |= {"start_s": self.start_s, "duration_s": self.duration_s}
        return {**line, "speaker": self.speaker}


@dataclass(frozen=True)
class LeftOut:
    """An utterance in no manifest. ``reason`` is one of a recipe's few reasons, for counting."""

    id: str
    split: str
    reason: str
    detail: str


@dataclass
class Tally:
    """Counts of one split during writing."""

    kept: int = 0
    audio_s: float = 0.0
    left_out: Counter[str] = field(default_factory=Counter)
    speakers: set[str] = field(default_factory=set)
    texts: list[str] = field(default_factory=list)  # normalised


def write_entries(out: Path, entries: Iterable[Kept | LeftOut]) -> dict[str, Tally]:
    """Write the manifests and the left-out list; return the counts of each split, and of `NO_SPLIT`.

    A second utterance with the same id is left out. An old report is removed first, so that a report exists
    only beside complete manifests.
    """
    out.mkdir(parents=True, exist_ok=True)
    (out / REPORT_FILE).unlink(missing_ok=True)
    tallies = {split: Tally() for split in (*SPLITS, NO_SPLIT)}
    seen: set[str] = set()
    with ExitStack() as stack:

        def opened(name: str) -> TextIO:
            return stack.enter_context((out / name).open("w", encoding="utf-8"))

        manifests = {split: opened(f"{split}.jsonl") for split in SPLITS}
        left_out = opened(LEFT_OUT_FILE)
        for entry in entries:
            if isinstance(entry, Kept) and entry.id in seen:
                entry = LeftOut(entry.id, entry.split, "id seen before", str(entry.audio))
            tally = tallies[entry.split]
            if isinstance(entry, LeftOut):
                tally.left_out[entry.reason] += 1
                left_out.write(json.dumps(asdict(entry), ensure_ascii=False) + "\n")
                continue
            seen.add(entry.id)
            tally.kept += 1
            tally.audio_s += entry.duration_s
            tally.speakers.add(entry.speaker)
            tally.texts.append(normalise(entry.text))
            manifests[entry.split].write(json.dumps(entry.line(), ensure_ascii=False) + "\n")
    return tallies


def make_report(
    corpus: str, tallies: Mapping[str, Tally], asked: Mapping[str, Any], notes: Iterable[str]
) -> dict[str, Any]:
    """Return the counts beside the paper's, and the notes."""
    paper = DATA[corpus]
    trained = set(tallies["train"].texts)
    return {
        "corpus": corpus,
        "asked": dict(asked),
        "notes": list(notes),
        "splits": {
            split: {
                "found": tally.kept + tally.left_out.total(),
                "kept": tally.kept,
                "kept_in_paper": paper.utterances.get(split),
                "hours": round(tally.audio_s / 3600, 3),
                "speakers": len(tally.speakers),
                "left_out": dict(sorted(tally.left_out.items())),
                "texts_also_in_train": sum(text in trained for text in tally.texts)
                if split != "train"
                else None,
            }
            for split, tally in tallies.items()
            if split in SPLITS or tally.left_out
        },
        "hours": round(sum(tally.audio_s for tally in tallies.values()) / 3600, 3),
        "hours_in_paper": paper.hours,
        "speakers_in_two_splits": _shared_speakers(tallies),
    }


def write_json(path: Path, value: object) -> None:
    """Write indented JSON atomically."""
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(part, path)


def table(report: Mapping[str, Any]) -> str:
    """Return the report as text to print."""
    lines = [f"{'split':6} {'found':>8} {'kept':>8} {'paper':>8} {'hours':>8} {'speakers':>8}"]
    for split, row in report["splits"].items():
        paper = row["kept_in_paper"] if row["kept_in_paper"] is not None else "-"
        lines.append(
            f"{split:6} {row['found']:8} {row['kept']:8} {paper:>8} {row['hours']:8.2f} {row['speakers']:8}"
        )
        lines += [f"       {count:8} left out: {reason}" for reason, count in row["left_out"].items()]
    lines.append(f"{report['hours']:.1f} h in all, {report['hours_in_paper']} h in the paper")
    for split, row in report["splits"].items():
        if row["texts_also_in_train"]:
            lines.append(f"{row['texts_also_in_train']} texts of {split} are also said in train")
    if shared := report["speakers_in_two_splits"]:
        lines.append(f"speakers in more than one split: {', '.join(shared)}")
    return "\n".join([*lines, *report["notes"]])


def _shared_speakers(tallies: Mapping[str, Tally]) -> list[str]:
    counted = Counter(speaker for tally in tallies.values() for speaker in tally.speakers)
    return sorted(speaker for speaker, splits in counted.items() if splits > 1)
