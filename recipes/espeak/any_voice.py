"""Measures what the server does for voices without a domain of their own: docs/results/any-voice.md.

python -m recipes.espeak.any_voice                 # stopped, it goes on where it ended
python -m recipes.espeak.any_voice --only page
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from recipes.espeak import blends
from ssvd_asr.parser import CommandParser

RESULTS = Path("docs/results")
PAGE = RESULTS / "any-voice.md"
PARTS = ("blends",)


def page() -> str:
    """Return the Markdown page of all results that are there."""
    lines = ["# Any voice", "", "Written by `python -m recipes.espeak.any_voice`.", ""]
    file = RESULTS / f"{blends.NAME}.json"
    if file.exists():
        lines += blends.section(json.loads(file.read_text(encoding="utf-8")))
    return "\n".join(lines).rstrip() + "\n"


def main(argv: list[str] | None = None) -> int:
    """Measure, and write the page."""
    parser = CommandParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/espeak"))
    parser.add_argument("--child", type=Path, help="an adapter file, with --scottish; default: the packaged")
    parser.add_argument("--scottish", type=Path)
    parser.add_argument("--only", choices=(*PARTS, "page"), help="left out: all parts")
    arguments = parser.parse_args(argv)
    given = {name: getattr(arguments, name) for name in blends.DOMAINS if getattr(arguments, name)}
    if len(given) == 1:
        parser.error("--child and --scottish go together")
    if arguments.only != "page":
        blends.measure(arguments.data, RESULTS, given or None)
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
