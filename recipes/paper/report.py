"""Report of a corpus: kept and left-out utterances, counted beside the paper's figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from recipes.entries import SPLITS, Tally
from recipes.paper.figures import DATA


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
