"""Parser of a command's arguments, which takes no abbreviation and tells the nearest option.

argparse takes `--epoch` for `--epochs` as long as no other option begins so. A new option would then change
what an old command line means.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any


class CommandParser(argparse.ArgumentParser):
    """ArgumentParser of every command of ours."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **options})
        self.register("type", Path, _path)

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """Parse the arguments. Exits with status 2 where one is not known, and tells the nearest option."""
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}{self._nearest(unknown)}")
        return parsed

    def _nearest(self, unknown: Sequence[str]) -> str:
        option = next((text.partition("=")[0] for text in unknown if text.startswith("--")), None)
        if option is None:
            return ""
        near = get_close_matches(option, set(_options(self)), n=1)
        return f" (the nearest option is {near[0]})" if near else ""

    def _print_message(self, message: str, file: Any = None) -> None:
        """Write a help text or an error. argparse passes over it in silence where it cannot be written."""
        stream = sys.stderr if file is None else file
        if stream is not None:
            stream.write(message)


def _path(text: str) -> Path:
    """Return a path. An empty one, as of an unset variable, would mean the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("an empty path; is a variable of the shell not set?")
    return Path(text)


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield the options of a parser and of its subcommands."""
    for action in parser._actions:
        yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from _options(inner)
