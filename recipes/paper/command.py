"""Command of a recipe: prepare the corpus, train on it, and compare with the paper's rows."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from recipes.entries import REPORT_FILE, Kept, LeftOut, write_entries, write_json
from recipes.paper.experiment import COMPARISON, compare, train
from recipes.paper.figures import SIZES
from recipes.paper.options import TrainOptions
from recipes.paper.place import by_torchrun, is_first
from recipes.paper.report import make_report, table
from ssvd_asr.errors import SsvdError
from ssvd_asr.parser import CommandParser

INTERRUPTED = 130  # exit status, as a shell's after ctrl-c
Case = Literal["keep", "lower", "upper"]
CASES: tuple[Case, ...] = ("keep", "lower", "upper")


class Reader(Protocol):
    """Reader of a corpus on disk."""

    def asked(self) -> dict[str, Any]:
        """Return the settings that decide the manifests, as JSON values."""

    def entries(self) -> Iterator[Kept | LeftOut]:
        """Yield every utterance in a fixed order. Raises DataError if this is not the corpus."""

    def notes(self) -> list[str]:
        """Return notes for readers of the results. Call it after `entries`."""


@dataclass(frozen=True)
class CorpusRecipe:
    """The parts in which recipes differ."""

    name: str  # of the corpus in `recipes.paper.figures`, and of the domain
    language: str
    description: str
    case: Case  # of the texts, unless asked otherwise
    add_options: Callable[[argparse.ArgumentParser], None]
    reader: Callable[[argparse.Namespace], Reader]


def cased(text: str, case: Case) -> str:
    """Return ``text`` in the given case."""
    return {"keep": text, "lower": text.lower(), "upper": text.upper()}[case]


def run(recipe: CorpusRecipe, argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: 1 after an error, 130 if interrupted."""
    arguments, options = _parser(recipe).parse_known_args(argv)
    try:
        return _run(recipe, arguments, options)
    except SsvdError as error:
        print(f"recipes.{recipe.name}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"recipes.{recipe.name}: interrupted; the same command goes on", file=sys.stderr)
        return INTERRUPTED


def _run(recipe: CorpusRecipe, arguments: argparse.Namespace, options: Sequence[str]) -> int:
    out: Path = arguments.out
    if options and arguments.train is None:
        raise SsvdError(f"unknown: {' '.join(options)} (options of `ssvd train` go with --train)")
    if arguments.corpus is not None and by_torchrun():
        raise SsvdError("torchrun's processes would all read the corpus: run --corpus once without torchrun")
    given = TrainOptions.read(options)
    first = is_first(given.processes)
    if arguments.corpus is not None and first:
        print(table(prepare(recipe.name, recipe.reader(arguments), out)))
    if arguments.train is not None:
        name = arguments.run or f"{arguments.train}-{given.method}"
        status = train(recipe.name, recipe.language, out, arguments.train, name, options)
        if status != 0:
            return status
    if not first:
        return 0  # the first process still scores; another status would end it
    if compare(recipe.name, out) is not None:
        print((out / f"{COMPARISON}.md").read_text(encoding="utf-8"))
    elif arguments.corpus is None:
        raise SsvdError(f"nothing to do in {out}: no finished run to compare; give --corpus, then --train")
    return 0


def prepare(name: str, reader: Reader, out: Path) -> dict[str, Any]:
    """Write OUT's manifests and report.json; return the report. Only read it if the settings are the same."""
    path = out / REPORT_FILE
    asked = reader.asked()
    if path.is_file():
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if report["asked"] == asked:
            print(f"already prepared; remove {path} to read the corpus again", file=sys.stderr)
            return report
    tallies = write_entries(out, reader.entries())
    report = make_report(name, tallies, asked, reader.notes())
    write_json(path, report)
    return report


def _parser(recipe: CorpusRecipe) -> argparse.ArgumentParser:
    parser = CommandParser(
        prog=f"python -m recipes.{recipe.name}",
        description=recipe.description,
        epilog="With --train, every further option is one of `ssvd train`: --device, --dtype, --method, --k, "
        "--base, --config, --checkpoint, --lr, ...",
        allow_abbrev=False,
    )
    parser.add_argument("--corpus", type=Path, help="the corpus as distributed; without it, OUT is prepared")
    parser.add_argument("--out", type=Path, required=True, help="folder of manifests, runs and tables")
    parser.add_argument("--train", choices=SIZES, help="train on this base of the paper; again: resume")
    parser.add_argument("--run", help="name of the run in OUT/runs (default: SIZE-METHOD)")
    parser.add_argument(
        "--case", choices=CASES, default=recipe.case, help="letters of the texts (default: %(default)s)"
    )
    recipe.add_options(parser)
    return parser
