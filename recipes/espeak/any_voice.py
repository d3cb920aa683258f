"""Measures what the server does for voices without a domain of their own: docs/results/any-voice.md.

python -m recipes.espeak.any_voice                 # stopped, it goes on where it ended
python -m recipes.espeak.any_voice --only page
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from recipes.espeak import blends, choice_page, choice_times, choices, ten_domains
from ssvd_asr.parser import CommandParser

RESULTS = Path("docs/results")
PAGE = RESULTS / "any-voice.md"
PARTS = ("blends", "choices", "times")


def page() -> str:
    """Return the Markdown page of all results that are there."""
    lines = ["# Any voice", "", "Written by `python -m recipes.espeak.any_voice`.", ""]
    found = {name: _results(name) for name in (choices.NAME, choice_times.NAME, blends.NAME)}
    if (chosen := found[choices.NAME]) is not None:
        choice_page.draw(chosen, RESULTS)
        lines += choice_page.section(chosen, found[choice_times.NAME])
    if (blended := found[blends.NAME]) is not None:
        lines += blends.section(blended)
    return "\n".join(lines).rstrip() + "\n"


def _results(name: str) -> dict[str, Any] | None:
    file = RESULTS / f"{name}.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


def main(argv: list[str] | None = None) -> int:
    """Measure, and write the page."""
    parser = CommandParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/espeak"))
    parser.add_argument("--runs", type=Path, default=Path("exp/ten"), help="adapters of the ten domains")
    parser.add_argument("--child", type=Path, help="an adapter file, with --scottish; default: the packaged")
    parser.add_argument("--scottish", type=Path)
    parser.add_argument("--only", choices=(*PARTS, "page"), help="left out: all parts")
    arguments = parser.parse_args(argv)
    given = {name: getattr(arguments, name) for name in blends.DOMAINS if getattr(arguments, name)}
    if len(given) == 1:
        parser.error("--child and --scottish go together")
    parts = PARTS if arguments.only is None else (arguments.only,)
    ten = arguments.data / "ten"
    if "blends" in parts:
        blends.measure(arguments.data, RESULTS, given or None)
    if "choices" in parts or "times" in parts:
        ten_domains.corpora(ten)
        ten_domains.train(ten, arguments.runs)
    if "choices" in parts:
        choices.measure(ten, arguments.runs, RESULTS)
    if "times" in parts:
        choice_times.measure(ten, arguments.runs, RESULTS)
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
