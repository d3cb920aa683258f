"""Measures everything that a reply says, before and after it was made true: docs/results/true-out.md.

    python -m recipes.espeak.true_out                  # all, about two hours on two cores
    python -m recipes.espeak.true_out --only formats   # or search, times, long, page

`before` is commit BEFORE, the last without CTC's say, aligned times and cutting at silences. `formats` runs
it from a checkout of its own; the others keep its way of decoding to compare with.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from recipes.espeak import formats, long_recordings
from recipes.espeak.long_page import row_lines
from ssvd_asr.parser import CommandParser

BEFORE = "5d49ec0"
RESULTS = Path("docs/results")
FORMATS_FILE = RESULTS / "true-out-formats.json"
PAGE = RESULTS / "true-out.md"
PARTS = ("search", "formats", "times", "long")
FORMAT_UTTERANCES = 40  # of each test set


def search(data: Path) -> None:
    """Measure the searches on the full test sets."""
    _run("-m", "benchmarks.search", "--data", str(data), "--split", "test")
    _run("-m", "benchmarks.page")


def response_formats(data: Path) -> None:
    """Measure the formats by today's code and by that of BEFORE."""
    arguments = ["--data", str(data.absolute()), "--utterances", str(FORMAT_UTTERANCES)]
    after = json.loads(_run("-m", "recipes.espeak.formats", *arguments))
    with TemporaryDirectory() as folder:
        checkout = str(Path(folder) / "before")
        subprocess.run(["git", "worktree", "add", "--detach", checkout, BEFORE], check=True)
        try:
            before = json.loads(_run(str(Path(formats.__file__)), *arguments, path=checkout))
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", checkout], check=True)
    found = {"before_commit": BEFORE, "utterances": FORMAT_UTTERANCES, "before": before, "after": after}
    FORMATS_FILE.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def times(data: Path) -> None:
    """Measure word times on the full test sets."""
    _run("-m", "recipes.espeak.times", "--data", str(data), "--split", "test", "--utterances", "600")


def long(data: Path) -> None:
    """Measure long recordings of the full test sets."""
    _run("-m", "recipes.espeak.long_recordings", "--data", str(data), "--jobs", "2")


def _run(*arguments: str, path: str = ".") -> str:
    """Run Python with these arguments, importing from `path`. Return its output."""
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


def page() -> str:
    """Return the Markdown page of all results that are there. Every figure in it comes from their files."""
    parts = ["# What comes out", "", "Written by `python -m recipes.espeak.true_out`. WER in %.", ""]
    if FORMATS_FILE.exists():
        parts += _formats(json.loads(FORMATS_FILE.read_text(encoding="utf-8")))
    searches = RESULTS / "search-owsm-nano-cpu.json"
    if searches.exists():
        parts += _search(json.loads(searches.read_text(encoding="utf-8")))
    parts += [
        "## Times",
        "",
        "Of words, against espeak-ng's own: [true-out-times.md](true-out-times.md).",
        "",
    ]
    recordings = RESULTS / f"{long_recordings.NAME}.json"
    if recordings.exists():
        parts += [
            "## Long recordings",
            "",
            f"In full: [{long_recordings.NAME}.md]({long_recordings.NAME}.md).",
            "",
        ]
        parts += [*row_lines(json.loads(recordings.read_text(encoding="utf-8"))["rows"]), ""]
    return "\n".join(parts).rstrip() + "\n"


def _formats(found: Mapping[str, Any]) -> list[str]:
    """Return the section on response formats."""
    kinds = formats.FORMATS
    lines = [
        "## Response formats",
        "",
        f"The first {found['utterances']} utterances of each test set, asked of the HTTP API. `before` is "
        f"commit {found['before_commit']}; a dash is a format that it refuses.",
        "",
        *_head(["speech", "", *kinds]),
    ]
    for domain in found["after"]:
        for when in ("before", "after"):
            lines.append(_cells([domain, when, *(_percent(found[when][domain][kind]) for kind in kinds)]))
    return [*lines, ""]


def _search(found: Mapping[str, Any]) -> list[str]:
    """Return the section on searches: greedy, which was the default, and today's."""
    rows = {(row["domain"], row["search"]): row for row in found["rows"]}
    domains = list(dict.fromkeys(domain for domain, _ in rows))
    now = next(search for _, search in rows if search.startswith("checked"))
    lines = [
        "## Search",
        "",
        f"Full test sets ({', '.join(domains)}; 600 utterances each). All searches: [search.md](search.md).",
        "",
        *_head(["search", *domains]),
    ]
    for name, search in (("before: greedy", "greedy"), (f"after: {now}", now)):
        lines.append(_cells([name, *(f"{rows[domain, search]['wer']:.1f}" for domain in domains)]))
    return [*lines, ""]


def _head(titles: Sequence[str]) -> list[str]:
    return [_cells(titles), "|" + "---|" * len(titles)]


def _cells(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _percent(rate: float | None) -> str:
    return "-" if rate is None else f"{100 * rate:.1f}"


def main(argv: list[str] | None = None) -> int:
    """Measure, and write the page."""
    parser = CommandParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/espeak"))
    parser.add_argument("--only", choices=(*PARTS, "page"), help="left out: all parts")
    arguments = parser.parse_args(argv)
    functions = dict(zip(PARTS, (search, response_formats, times, long), strict=True))
    for part in [arguments.only] if arguments.only else PARTS:
        if part != "page":
            functions[part](arguments.data)
        PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
