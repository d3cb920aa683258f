"""Reader of tables: CSV and TSV files with a header, by the same names of the fields as JSON manifests."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ssvd_asr.errors import DataError
from ssvd_asr.manifests.fields import KEYS, FieldReader, MalformedError, audio_of, check_columns
from ssvd_asr.manifests.sources import Entry, number_of, shown, text_lines, without_repeats
from ssvd_asr.manifests.utterances import Problem

_NUMBERS = (*KEYS["start"], *KEYS["duration"])
_SEPARATORS = "\t,;|"


def read_table(path: Path, *, needs_text: bool = True) -> Iterator[Entry]:
    """Yield one entry for each row. Relative audio paths are relative to the table's folder.

    Columns are separated by tabs if the header has one, else by commas, semicolons or upright lines. Between
    tabs or lines, quotes are letters of the text, as in Common Voice's tables; elsewhere they enclose a
    value. White space around a value is dropped, and an empty value counts as absent.

    Raises:
        DataError: the file is no text, holds several splits, or its header has a column that is unknown or
            stands twice.
    """
    yield from without_repeats(_named_entries(path, needs_text))


def _named_entries(path: Path, needs_text: bool) -> Iterator[tuple[str, Entry]]:
    lines = text_lines(path)
    first = next(lines, None)
    if first is None:
        return
    separator = next((sign for sign in _SEPARATORS if sign in first[1]), ",")
    quoted = separator in ",;"
    rows = _rows(separator, quoted, first[1], (line for _, line in lines))
    header = [name.strip() for name in next(rows)]
    check_columns(path, header)
    fields = FieldReader(path, needs_text)
    number = 1
    try:
        for number, row, cut_off in _numbered(rows, len(header), quoted):
            name = f"{path.name}:{number}"
            entry = dict(zip(header, (cell.strip() or None for cell in row), strict=False))
            try:
                if len(row) != len(header):
                    raise MalformedError(f"{len(row)} values for {len(header)} columns")
                if cut_off:
                    raise MalformedError("a line break stands in a value: the next line has too few values")
                found = fields.read(_with_numbers(entry), name)
            except DataError:  # of the whole file; it is a ValueError too
                raise
            except ValueError as error:
                found = Problem(name, audio_of(entry), "malformed entry", f"row {number}: {error}")
            yield name, found
    except csv.Error as error:
        raise DataError(f"{path}, after row {number}: {error}") from error


def _rows(separator: str, quoted: bool, header: str, lines: Iterator[str]) -> Iterator[list[str]]:
    def all_lines() -> Iterator[str]:
        yield header
        yield from lines

    if not quoted:
        return csv.reader(all_lines(), delimiter=separator, quoting=csv.QUOTE_NONE)
    return csv.reader(all_lines(), delimiter=separator, strict=True, skipinitialspace=True)


def _numbered(rows: Iterable[list[str]], columns: int, quoted: bool) -> Iterator[tuple[int, list[str], bool]]:
    """Yield rows with their numbers, and whether a row may have been cut off by a line break in a value.

    Between quotes a value may hold line breaks. Elsewhere its rest is the next row, which is short.
    """
    held: tuple[int, list[str]] | None = None
    for number, row in enumerate(rows, 2):
        if held is not None:
            yield *held, not quoted and len(row) < columns
        held = number, row
    if held is not None:
        yield *held, False


def _with_numbers(row: dict[str, str | None]) -> dict[str, Any]:
    """Return the row with its times, and the number of a channel, as numbers."""
    entry: dict[str, Any] = dict(row)
    for name in _NUMBERS:
        if (value := row.get(name)) is not None:
            try:
                entry[name] = number_of(value)
            except ValueError:
                raise MalformedError(f'"{name}" must be seconds, found {shown(value)}') from None
    for name in KEYS["channel"]:
        if (value := row.get(name)) is not None and value.isascii() and value.isdigit():
            entry[name] = int(value[:9])
    return entry
