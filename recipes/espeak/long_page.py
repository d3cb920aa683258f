"""Page of the results of `long_recordings`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from recipes.espeak.joined import KINDS

AIM, AIM_HIGH = 0.01, 0.02  # of the difference, and of the upper end of its interval


def table(found: Mapping[str, Any], file: str) -> str:
    """Return the Markdown page of the results. Every figure in it comes from there."""
    lines = [
        "# Long recordings and their parts",
        "",
        f"Written by `{found['command']}` with {file} ({found['device']}, "
        f"torch {found['torch']}, one thread).",
        "WER in %. `before` is greedy decoding of windows of 15 s, `now` what the server does by default.",
        "The difference is to the same clips decoded one by one as now, with its 95 % interval over",
        "utterances. For `noise` the clips have the noise too. For `pauses` the phrases are decoded one by",
        "one, since phrases alone are harder than sentences. The factor is seconds of the processor for a",
        "second of audio, cutting included. The base hears adult.",
        *(f"{domain} is heard with {which}." for domain, which in found["adapters"].items()),
        "",
        *(f"- `{name}`: {kind.about}" for name, kind in KINDS.items()),
        "",
        *row_lines(found["rows"]),
    ]
    return "\n".join(lines) + "\n"


def row_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the lines of the table of rows, and which of them miss the aim."""
    return [
        "| domain | kind | utterances | clip by clip | before | now | difference | interval "
        "| factor before | factor now |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *(line(row) for row in rows),
        "",
        _verdict(rows),
    ]


def _verdict(rows: Sequence[Mapping[str, Any]]) -> str:
    """Say which rows miss the aim."""
    missed = [
        f"{row['domain']} {row['kind']}"
        for row in rows
        if row["after"]["difference"] > AIM or row["after"]["high"] > AIM_HIGH
    ]
    aim = f"within {100 * AIM:.0f} point of clip by clip and {100 * AIM_HIGH:.0f} at the interval's upper end"
    return f"{len(rows) - len(missed)} of {len(rows)} rows are {aim}. Not: {', '.join(missed) or 'none'}."


def line(row: Mapping[str, Any]) -> str:
    """Return the table's line of one row."""
    before, after = row.get("before"), row["after"]
    cells = [
        row["domain"],
        row["kind"],
        row["utterances"],
        f"{100 * after['wer_clips']:.1f}",
        f"{100 * before['wer']:.1f}" if before else "",
        f"{100 * after['wer']:.1f}",
        f"{100 * after['difference']:+.1f}",
        f"{100 * after['low']:+.1f} to {100 * after['high']:+.1f}",
        f"{before['real_time_factor']:.3f}" if before else "",
        f"{after['real_time_factor']:.3f}",
    ]
    return f"| {' | '.join(str(cell) for cell in cells)} |"
