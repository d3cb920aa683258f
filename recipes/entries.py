"""Kept and left-out utterances, and the files that hold them.

OUT/train.jsonl, valid.jsonl and test.jsonl are manifests for `ssvd train`. OUT/left-out.jsonl names every
other utterance with its reason. OUT/report.json, which a recipe writes last, counts both.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

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
    speaker: str | None
    duration_s: float
    start_s: float | None = None
    channel: int | None = None  # of the file, from 0; None: all of them are mixed
    language: str | None = None
    group: str | None = None  # its utterances are in one split

    def line(self) -> dict[str, Any]:
        """Return the line as `ssvd_asr.manifests.read` reads it; ``duration`` alone is the whole file's."""
        line: dict[str, Any] = {"id": self.id, "audio": str(self.audio), "text": self.text}
        if self.start_s is None:
            line["duration"] = round(self.duration_s, 3)
        else:
            line |= {"start_s": self.start_s, "duration_s": self.duration_s}
        others = {"channel": self.channel, "speaker": self.speaker, "language": self.language}
        others["group"] = self.group
        return line | {key: value for key, value in others.items() if value is not None}


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
    groups: set[str] = field(default_factory=set)
    texts: list[str] = field(default_factory=list)  # normalised


def write_entries(
    out: Path, entries: Iterable[Kept | LeftOut], splits: Sequence[str] = SPLITS
) -> dict[str, Tally]:
    """Write the manifests and the left-out list; return the counts of each split, and of `NO_SPLIT`.

    A second utterance with the same id is left out. An old report is removed first, so that a report exists
    only beside complete manifests.
    """
    out.mkdir(parents=True, exist_ok=True)
    (out / REPORT_FILE).unlink(missing_ok=True)
    tallies = {split: Tally() for split in (*splits, NO_SPLIT)}
    seen: set[str] = set()
    with ExitStack() as stack:

        def opened(name: str) -> TextIO:
            return stack.enter_context((out / name).open("w", encoding="utf-8"))

        manifests = {split: opened(f"{split}.jsonl") for split in splits}
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
            tally.speakers.update([entry.speaker] if entry.speaker is not None else [])
            tally.groups.update([entry.group] if entry.group is not None else [])
            tally.texts.append(normalise(entry.text))
            manifests[entry.split].write(json.dumps(entry.line(), ensure_ascii=False) + "\n")
    return tallies


def write_json(path: Path, value: object) -> None:
    """Write indented JSON atomically."""
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(part, path)
