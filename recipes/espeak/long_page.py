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
        "WER in %. `before` is greedy decoding of windows of 15 s, with the adapters packaged at that time;",
        "`now` is what the server does by default, with today's.",
        "The difference is to the same clips decoded one by one as now, with its 95 % interval over",
        "utterances. For `noise` the clips have the noise too. For `pauses` the phrases are decoded one by",
        "one, since phrases alone are harder than sentences. Joining cuts off the clips' faint ends, and",
        "soft sounds with them: `ends cut` is of the clips one by one as they stand in the recordings, and",
        "the last difference is to that. The factor is seconds of the processor for a second of audio,",
        "cutting included. The base hears adult.",
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
        "| ends cut | difference | interval | factor before | factor now |",
        f"|{'---|' * 13}",
        *(line(row) for row in rows),
        "",
        _verdict(rows, "", "clip by clip"),
        _verdict(
            [row for row in rows if "wer_clips_cut" in row["after"]], "_cut", "the clips with their ends cut"
        ),
    ]


def _verdict(rows: Sequence[Mapping[str, Any]], suffix: str, reference: str) -> str:
    """Say which rows miss the aim, compared with one of the references of `long_recordings.measure`."""
    missed = [
        f"{row['domain']} {row['kind']}"
        for row in rows
        if row["after"][f"difference{suffix}"] > AIM or row["after"][f"high{suffix}"] > AIM_HIGH
    ]
    aim = f"within {100 * AIM:.0f} point of {reference} and {100 * AIM_HIGH:.0f} at the interval's upper end"
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
        *_difference(after, ""),
        *(
            [f"{100 * after['wer_clips_cut']:.1f}", *_difference(after, "_cut")]
            if "wer_clips_cut" in after
            else [""] * 3
        ),
        f"{before['real_time_factor']:.3f}" if before else "",
        f"{after['real_time_factor']:.3f}",
    ]
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def _difference(after: Mapping[str, Any], suffix: str) -> list[str]:
    low, high = 100 * after[f"low{suffix}"], 100 * after[f"high{suffix}"]
    return [f"{100 * after[f'difference{suffix}']:+.1f}", f"{low:+.1f} to {high:+.1f}"]
