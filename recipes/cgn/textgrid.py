"""Reader of Praat's TextGrids, in the short format (CGN's .ort) or the long one.

Like Praat, it reads only quoted strings, free-standing numbers and flags, and skips all other text.
Format: CGN documentation, "The .ort format"; Praat manual, "TextGrid file formats".
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ssvd_asr.errors import DataError

_TOKEN = re.compile(
    r'"((?:[^"]|"")*)"|(?<!\S)([-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)(?!\S)|(<exists>|<absent>)'
)


@dataclass(frozen=True)
class Interval:
    """A labelled interval of a tier."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True)
class Tier:
    """The intervals of one speaker (or of BACKGROUND, COMMENT), in the file's order."""

    name: str
    intervals: tuple[Interval, ...]


def read_textgrid(path: Path) -> list[Tier]:
    """Return the interval tiers of a .ort or .ort.gz file; point tiers are skipped.

    Text is UTF-8 if it decodes as such (never accented Dutch in Latin-1), else Latin-1 as in CGN.

    Raises:
        DataError: the file is unreadable, no TextGrid, or truncated or malformed.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.name.endswith(".gz") else path.read_bytes()
    except (OSError, EOFError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    try:
        return list(_tiers(_Tokens(text)))
    except ValueError as error:
        raise DataError(f"{path} is no TextGrid that can be read: {error}") from error


def _tiers(tokens: _Tokens) -> Iterator[Tier]:
    if not tokens.string().startswith("ooTextFile") or tokens.string() != "TextGrid":
        raise ValueError('it does not begin with "ooTextFile" and "TextGrid"')
    tokens.number(), tokens.number()  # the span of time
    if tokens.flag() == "<absent>":
        return
    for _ in range(tokens.count()):
        kind, name = tokens.string(), tokens.string()
        tokens.number(), tokens.number()
        count = tokens.count()
        if kind == "IntervalTier":
            yield Tier(
                name, tuple(Interval(tokens.number(), tokens.number(), tokens.string()) for _ in range(count))
            )
        elif kind == "TextTier":
            for _ in range(count):
                tokens.number(), tokens.string()
        else:
            raise ValueError(f"tier {name!r} is of unknown kind {kind!r}")


class _Tokens:
    """The strings, numbers and flags of a file in order. Each method takes the next one.

    All raise ValueError if the next is of another kind or the file has ended.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._found = _TOKEN.finditer(text)

    def string(self) -> str:
        """Return a quoted string without its quotes."""
        return self._next(1, "a string").replace('""', '"')

    def number(self) -> float:
        """Return a free-standing number."""
        return float(self._next(2, "a number"))

    def count(self) -> int:
        """Return a whole number of at least 0."""
        value = self.number()
        if value < 0 or value != int(value):
            raise ValueError(f"expected a count, found {value}")
        return int(value)

    def flag(self) -> str:
        """Return <exists> or <absent>."""
        return self._next(3, "<exists>")

    def _next(self, group: int, expected: str) -> str:
        found = next(self._found, None)
        if found is None:
            raise ValueError(f"it ends where {expected} was expected")
        if found[group] is None:
            line = self._text.count("\n", 0, found.start()) + 1
            raise ValueError(f"line {line}: expected {expected}, found {found[0][:40]}")
        return str(found[group])
