"""Figures of keywords.py, the choice of the bonus, and docs/results/keywords.json and keywords.md."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jiwer

from ssvd_asr.scoring import score

RESULTS = Path("docs/results")
KEPT_ORDINARY = 0.002  # most that the WER of ordinary speech may rise on validation data

Row = dict[str, Any]


def figures(rows: Sequence[Row]) -> Row:
    """Return recall and false alarms of keywords, and errors, as counts and ratios.

    `said` of a row counts what the transcript says of the keywords; more than the reference says is a false
    alarm. `wer_other` leaves out the reference's keywords.
    """
    asked = sum(sum(row["own"].values()) for row in rows)
    found = sum(min(count, row["said"].get(word, 0)) for row in rows for word, count in row["own"].items())
    alarms = sum(
        max(0, count - row["own"].get(word, 0)) for row in rows for word, count in row["said"].items()
    )
    counted = score([row["ref"] for row in rows], [row["hyp"] for row in rows])
    others = [_others(row) for row in rows]
    return {
        "utterances": len(rows),
        "own": asked,
        "found": found,
        "recall": round(found / asked, 4) if asked else None,
        "false_alarms": alarms,
        "wer": round(counted.wer, 4),
        "wer_other": round(sum(wrong for wrong, _ in others) / sum(total for _, total in others), 4),
        "rtf": round(sum(row["wall_s"] for row in rows) / sum(row["audio_s"] for row in rows), 4),
    }


def _others(row: Row) -> tuple[int, int]:
    """Return the errors in words that belong to no keyword, insertions too, and the number of such words."""
    words = row["ref"].split()
    own = {part for word in row["own"] for part in word.split()}
    total = sum(word not in own for word in words)
    wrong = 0
    for chunk in jiwer.process_words(row["ref"], row["hyp"]).alignments[0]:
        if chunk.type == "insert":
            wrong += chunk.hyp_end_idx - chunk.hyp_start_idx
        elif chunk.type != "equal":
            wrong += sum(word not in own for word in words[chunk.ref_start_idx : chunk.ref_end_idx])
    return wrong, total


def chosen_bonus(valid: Sequence[Row]) -> float:
    """Return the bonus with the fewest wrong words where terms are said, among those that spare other speech.

    In no domain may the WER of `ordinary` be more than KEPT_ORDINARY above that without keywords.
    """
    domains = {row["domain"] for row in valid}
    bonuses = sorted({row["bonus"] for row in valid if row["bonus"] is not None})

    def wer(kind: str, domain: str, bonus: float | None) -> float:
        asked = ("kind", kind), ("domain", domain), ("bonus", bonus)
        return next(float(row["wer"]) for row in valid if all(row[name] == value for name, value in asked))

    def rise(bonus: float) -> float:
        return max(wer("ordinary", each, bonus) - wer("ordinary", each, None) for each in domains)

    spared = [each for each in bonuses if rise(each) <= KEPT_ORDINARY] or bonuses[:1]
    return float(min(spared, key=lambda bonus: sum(wer("terms", each, bonus) for each in domains)))


def write_page(valid: Sequence[Row], test: Sequence[Row], bonus: float) -> None:
    """Write the results and their page."""
    document = {
        "command": "python -m recipes.espeak.keywords",
        "processor": platform.processor() or platform.machine(),
        "bonus": bonus,
        "valid": valid,
        "test": test,
    }
    (RESULTS / "keywords.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    (RESULTS / "keywords.md").write_text(page(document), encoding="utf-8")


def page(document: Mapping[str, Any]) -> str:
    """Return the page of the results."""
    lines = [
        "# Keywords",
        "",
        f"Written by `{document['command']}`. owsm-nano and its packaged adapters; speech of espeak-ng.",
        "",
        "`terms` are sentences with names and terms that neither the base nor an adapter was trained on,",
        "`unseen` have words that the domain's training data lack, `ordinary` and `known` are the domain's",
        "own data. An utterance's keywords are its own terms and the number of others; `found` counts its",
        "own. The others are terms, or for `unseen` and `known` words that the base was trained on. A false",
        "alarm is a keyword that the transcript says and the reference does not. `other` is the WER of the",
        "words that are no keywords, with all insertions. The real-time factor was measured on one core that",
        "other work shared: it tells no more than which rows are slower.",
        "",
        f"## Test data, {document['bonus']:g} nats a piece",
        "",
        *_table(document["test"]),
        "",
        "## Validation data, by which the bonus was chosen",
        "",
        "The fewest wrong words on `terms`, where the WER of `ordinary` rises by at most",
        f"{100 * KEPT_ORDINARY:.1f} points in each domain.",
        "",
        *_table(document["valid"]),
    ]
    return "\n".join(lines) + "\n"


def _table(rows: Sequence[Row]) -> list[str]:
    head = [
        "| set | domain | model | others | nats | clips | found | false alarms | WER | other | RTF |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    return head + [
        f"| {row['kind']} | {row['domain']} | {'adapter' if row['adapted'] else 'base'} "
        f"| {'no keywords' if row['others'] is None else row['others']} "
        f"| {'' if row['bonus'] is None else f'{row["bonus"]:g}'} | {row['utterances']} "
        f"| {'' if row['recall'] is None else f'{row["found"]} of {row["own"]}'} "
        f"| {row['false_alarms']} | {100 * row['wer']:.1f} % | {100 * row['wer_other']:.1f} % "
        f"| {row['rtf']:.3f} |"
        for row in rows
    ]
