"""All results of the benchmarks as one page, docs/results/engine.md: python -m benchmarks.page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import RESULTS

PAGE = "engine.md"
ROWS = {"rows", "benchmark", "command", "quick"}  # not told among the conditions


def main() -> None:
    """Write the page from what stands in docs/results/."""
    (RESULTS / PAGE).write_text(page(read(RESULTS)), encoding="utf-8")


def read(folder: Path) -> list[dict[str, Any]]:
    """Every record that `benchmarks.report.write` left in the folder, by benchmark and device."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    return [record for record in found if "benchmark" in record and not record["quick"]]


def page(records: Sequence[Mapping[str, Any]]) -> str:
    """The page's Markdown."""
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


def table(rows: Sequence[Mapping[str, object]]) -> list[str]:
    """Lines of a Markdown table, columns in the order in which they first appear. Lists stay in the JSON."""
    cells = [{key: value for key, value in row.items() if not isinstance(value, list)} for row in rows]
    header = list(dict.fromkeys(key for row in cells for key in row))
    lines = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    return lines + [f"| {' | '.join(_cell(row.get(key)) for key in header)} |" for row in cells]


def _cell(value: object) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
