"""Pages of docs/results/, written from its JSON files by `python -m benchmarks.page`.

engine.md holds every benchmark. search.md compares the searches, including those without CTC.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import RESULTS

PAGE, SEARCH_PAGE = "engine.md", "search.md"
ROWS = {"rows", "benchmark", "command", "quick"}  # not listed among the conditions


def main() -> None:
    """Write the pages from the JSON files in docs/results/."""
    records = read(RESULTS)
    (RESULTS / PAGE).write_text(page(records), encoding="utf-8")
    (RESULTS / SEARCH_PAGE).write_text(search_page(records), encoding="utf-8")


def read(folder: Path) -> list[dict[str, Any]]:
    """Return every record in the folder that `benchmarks.report.write` wrote, sorted by file name."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    return [record for record in found if "benchmark" in record and not record["quick"]]


def page(records: Sequence[Mapping[str, Any]]) -> str:
    """Return the Markdown of engine.md."""
    parts = [
        "# Benchmarks of the engine",
        "",
        "Written by `python -m benchmarks.page` from the JSON files here.",
    ]
    for record in records:
        conditions = [
            f"{name} {value}" for name, value in record.items() if name not in ROWS and value is not None
        ]
        parts += ["", f"## {record['benchmark']}", "", f"`{record['command']}`: {', '.join(conditions)}", ""]
        parts += table(record["rows"])
    return "\n".join(parts) + "\n"


def search_page(records: Sequence[Mapping[str, Any]]) -> str:
    """Return the Markdown of search.md: WER in % by search and domain, and the time of each search."""
    parts = ["# Which search finds the words", "", "Written by `python -m benchmarks.page`.", ""]
    parts += [
        "WER in %. The base hears `adult`, the packaged adapters hear `child` and `scottish`. `greedy` was",
        "the default before CTC had a say; `checked` is the default now. Time is encoding and decoding",
        "together over greedy's, the mean of the domains. `again` is the share of rows decoded twice.",
        "`valid` is of the adapters that were packaged when its figures chose the default.",
    ]
    for record in records:
        if not record["benchmark"].startswith("search-"):
            continue
        rows = {(row["domain"], row["search"]): row for row in record["rows"]}
        domains = list(dict.fromkeys(domain for domain, _ in rows))
        counts = ", ".join(f"{rows[domain, 'greedy']['utterances']} {domain}" for domain in domains)
        parts += ["", f"## {record['split']}: {counts}", "", f"`{record['command']}`, {record['device']}", ""]
        lines = []
        for search in dict.fromkeys(search for _, search in rows):
            found = [rows[domain, search] for domain in domains]
            lines.append({
                "search": search,
                **{domain: f"{row['wer']:.2f}" for domain, row in zip(domains, found, strict=True)},
                "time": f"{sum(row['times_greedy'] for row in found) / len(found):.2f}",
                "again": f"{100 * sum(row['again'] for row in found) / len(found):.0f} %",
            })  # fmt: skip
        parts += table(lines)
    return "\n".join(parts) + "\n"


def table(rows: Sequence[Mapping[str, object]]) -> list[str]:
    """Return the lines of a Markdown table, columns in the order of first appearance. Lists are left out."""
    cells = [{key: value for key, value in row.items() if not isinstance(value, list)} for row in rows]
    header = list(dict.fromkeys(key for row in cells for key in row))
    lines = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    return lines + [f"| {' | '.join(_cell(row.get(key)) for key in header)} |" for row in cells]


def _cell(value: object) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
