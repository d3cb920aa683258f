"""Command of a recipe: from an installed package to manifests, left-out list and report."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from recipes.debian.clips import Clip, utterance
from recipes.debian.distinct import distinct
from recipes.debian.package import SYSTEM, Package
from recipes.debian.translations import file_of, write_translations
from recipes.entries import REPORT_FILE, SPLITS, Kept, LeftOut, Tally, write_entries, write_json
from ssvd_asr.errors import DataError, SsvdError
from ssvd_asr.parser import CommandParser

Clips = Iterator[Clip | LeftOut]


@dataclass(frozen=True)
class DebianRecipe:
    """The parts in which recipes differ."""

    name: str
    description: str
    packages: tuple[str, ...]
    licence: str
    clips: Callable[[Package, argparse.Namespace], Clips]  # in a fixed order; DataError if this is not it
    add_options: Callable[[argparse.ArgumentParser], None] | None = None
    splits: tuple[str, ...] = SPLITS
    translates: bool = False  # whether clips have an English text too


def run(recipe: DebianRecipe, argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: 1 after an error."""
    arguments = _parser(recipe).parse_args(argv)
    try:
        print(table(prepare(recipe, arguments)))
    except SsvdError as error:
        print(f"recipes.{recipe.name}: {error}", file=sys.stderr)
        return 1
    return 0


def prepare(recipe: DebianRecipe, arguments: argparse.Namespace) -> dict[str, Any]:
    """Write the manifests, the left-out list and the report; return the report.

    Raises:
        DataError: the package's files are missing or are not what they should be, or nothing is kept.
    """
    out: Path = arguments.out
    package = Package(recipe.packages, arguments.corpus)
    english: dict[str, str] = {}
    kept: list[Kept] = []
    speakers: set[str] = set()

    def judged() -> Iterator[Kept | LeftOut]:
        for clip in tqdm(list(recipe.clips(package, arguments)), desc=recipe.name, unit="clip", disable=None):
            if isinstance(clip, Clip) and clip.translation is not None:
                english[clip.id] = clip.translation
            yield utterance(clip) if isinstance(clip, Clip) else clip

    def noted() -> Iterator[Kept | LeftOut]:
        for entry in distinct(judged()):
            if isinstance(entry, Kept) and entry.speaker is not None:
                speakers.add(entry.speaker)
            if isinstance(entry, Kept) and arguments.speaker not in (None, entry.speaker):
                entry = LeftOut(entry.id, entry.split, "another speaker", str(entry.speaker))
            if isinstance(entry, Kept):
                kept.append(entry)
            yield entry

    tallies = write_entries(out, noted(), recipe.splits)
    if not kept:
        raise DataError(
            f"nothing of {package.corpus} can be used; {out}/left-out.jsonl gives the reasons; "
            f"speakers found: {', '.join(sorted(speakers)) or 'none'}"
        )
    asked = {key: value for key, value in vars(arguments).items() if key not in ("out", "corpus")}
    asked["corpus"] = str(package.corpus)
    report = {
        "corpus": recipe.name,
        "packages": package.versions(),
        "licence": recipe.licence,
        "asked": asked,
        "splits": {split: _counts(tally) for split, tally in tallies.items() if _found(tally)},
        "speakers": _speakers(kept),
        "translations": write_translations(out, kept, english) if recipe.translates else {},
    }
    write_json(out / REPORT_FILE, report)
    return report


def _found(tally: Tally) -> int:
    return tally.kept + tally.left_out.total()


def _counts(tally: Tally) -> dict[str, Any]:
    return {
        "found": _found(tally),
        "kept": tally.kept,
        "minutes": round(tally.audio_s / 60, 2),
        "groups": len(tally.groups),
        "left_out": dict(sorted(tally.left_out.items())),
    }


def _speakers(kept: Sequence[Kept]) -> dict[str, dict[str, Any]]:
    names = sorted({entry.speaker for entry in kept if entry.speaker is not None})
    of = {name: [entry for entry in kept if entry.speaker == name] for name in names}
    return {
        name: {
            "kept": len(entries),
            "minutes": round(sum(entry.duration_s for entry in entries) / 60, 2),
        }
        for name, entries in of.items()
    }


def table(report: Mapping[str, Any]) -> str:
    """Return the report as text to print."""
    lines = [f"{'split':6} {'found':>7} {'kept':>7} {'minutes':>8} {'groups':>7}"]
    for split, row in report["splits"].items():
        lines.append(
            f"{split:6} {row['found']:7} {row['kept']:7} {row['minutes']:8.1f} {row['groups'] or '-':>7}"
        )
        lines += [f"       {count:7} left out: {reason}" for reason, count in row["left_out"].items()]
    rows = report["splits"].values()
    kept, minutes = sum(row["kept"] for row in rows), sum(row["minutes"] for row in rows)
    lines.append(f"{kept} utterances, {minutes:.1f} minutes in all")
    for name, row in report["speakers"].items():
        lines.append(f"speaker {name}: {row['kept']} utterances, {row['minutes']:.1f} minutes")
    for split, count in report["translations"].items():
        lines.append(f"{file_of(split)}: {count} utterances with an English text")
    versions = (f"{name} {version or '(version unknown)'}" for name, version in report["packages"].items())
    return "\n".join([*lines, f"packages: {', '.join(versions)}", f"licence: {report['licence']}"])


def _parser(recipe: DebianRecipe) -> CommandParser:
    parser = CommandParser(
        prog=f"python -m recipes.{recipe.name}",
        description=recipe.description,
        epilog=f"Packages: {' '.join(recipe.packages)}. Licence: {recipe.licence}",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the manifests and the report")
    parser.add_argument(
        "--corpus",
        type=Path,
        default=SYSTEM,
        metavar="DIR",
        help="folder into which the packages were unpacked by dpkg -x (default: where apt put them)",
    )
    parser.add_argument(
        "--speaker", metavar="NAME", help="only this speaker, by the name in the manifests (default: all)"
    )
    if recipe.add_options is not None:
        recipe.add_options(parser)
    return parser
