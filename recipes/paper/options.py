"""Options of `ssvd train` that a recipe needs to know. `ssvd train` itself checks all options."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from ssvd_asr.errors import DataError
from ssvd_asr.parser import CommandParser
from training.run_settings import RunSettings

SET_HERE = ("--domain", "--data", "--valid", "--test", "--out", "--resume", "--language")


@dataclass(frozen=True)
class TrainOptions:
    """Options as given. A field without an option has the default of `ssvd train`, or None."""

    method: str = RunSettings.method
    base: str | None = None
    p: str | None = None
    k: str | None = None
    budget: str | None = None
    budget_rule: str = RunSettings.budget_rule
    override: Sequence[str] = ()
    map: str = RunSettings.rotation_map
    sides: str = RunSettings.sides
    directions: str = RunSettings.directions
    delta_sigma: bool = RunSettings.delta_sigma
    scope: str = RunSettings.scope
    embedding: bool = RunSettings.embedding
    processes: int = 1

    @classmethod
    def read(cls, words: Sequence[str]) -> Self:
        """Read the words of a command line by its rules: `--k 8`, `--k=8`; the last one counts.

        Raises DataError for an option that the recipe itself sets.
        """
        given = vars(_parser().parse_known_args(words)[0])
        if taken := sorted(given.keys() & set(SET_HERE)):
            raise DataError(f"{', '.join(taken)}: the recipe sets this itself")
        return cls(**given)

    @property
    def papers_share(self) -> bool:
        """Whether the paper's share of directions applies: SSVD without --p, --k or --budget."""
        return self.method == RunSettings.method and (self.p, self.k, self.budget) == (None, None, None)

    @property
    def name(self) -> str:
        """The method's name in the table. A bare name is the paper's method.

        Suffixes name other settings, so that such a run does not match a row of the paper with about as many
        parameters. A budget by shape gets no suffix, since it chooses the same as --p.
        """
        otherwise = {
            self.map: self.map != RunSettings.rotation_map,
            "two-sided": self.sides == "both",
            "tail": self.directions == "tail",
            "no-delta-sigma": not self.delta_sigma,
            self.scope: self.scope != RunSettings.scope,
            "no-embedding": not self.embedding,
            "by-energy": self.budget is not None and self.budget_rule == "energy",
            "override": bool(self.override),
        }
        return "-".join([self.method, *(what for what, is_so in otherwise.items() if is_so)])


def _parser() -> argparse.ArgumentParser:
    """Return a parser that sets only the given options."""
    parser = CommandParser(
        prog="ssvd train", usage=argparse.SUPPRESS, argument_default=argparse.SUPPRESS, add_help=False
    )
    for option in SET_HERE:
        parser.add_argument(option, nargs="?", dest=option)
    for option in ("--method", "--base", "--p", "--k", "--budget", "--budget-rule"):
        parser.add_argument(option)
    for option in ("--map", "--sides", "--directions", "--scope"):
        parser.add_argument(option)
    parser.add_argument("--no-delta-sigma", action="store_false", dest="delta_sigma")
    parser.add_argument("--no-embedding", action="store_false", dest="embedding")
    parser.add_argument("--override", action="append")
    parser.add_argument("--processes", type=int)
    return parser
