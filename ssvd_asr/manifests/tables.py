"""Reader of tables: CSV and TSV files with a header, by the same names of the fields as JSON manifests."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ssvd_asr.errors import DataError
from ssvd_asr.manifests.fields import KEYS, MalformedError, audio_of, check_columns, read_fields
from ssvd_asr.manifests.sources import Entry, text_lines, without_repeats
from ssvd_asr.manifests.utterances import Problem

_NUMBERS = (*KEYS["start"], *KEYS["duration"])


def read_table(path: Path, *, needs_text: bool = True) -> Iterator[Entry]:
    """Yield one entry for each row. Relative audio paths are relative to the table's folder.

    Columns are separated by tabs if the header has one, else by commas, else by semicolons. Between tabs,
    quotes are letters of the text, as in Common Voice's tables; elsewhere they enclose a value. White space
    around a value is dropped, and an empty value counts as absent.

    Raises:
        DataError: the file is not UTF-8 text, or its header has an unknown column or one twice.
    """
    yield from without_repeats(_named_entries(path, needs_text))


def _named_entries(path: Path, needs_text: bool) -> Iterator[tuple[str, Entry]]:
    lines = text_lines(path)
    first = next(lines, None)
    if first is None:
        return
    rows = _rows(first[1], (line for _, line in lines))
    header = [name.strip() for name in next(rows)]
    check_columns(path, header)
    number = 1
    try:
        for number, row in enumerate(rows, 2):
            name = f"{path.name}:{number}"
            entry = dict(zip(header, (cell.strip() or None for cell in row), strict=False))
            try:
                if len(row) != len(header):
                    raise MalformedError(f"{len(row)} values for {len(header)} columns")
                found = read_fields(_with_numbers(entry), name, path, needs_text=needs_text)
            except ValueError as error:
                found = Problem(name, audio_of(entry), "malformed entry", f"row {number}: {error}")
            yield name, found
    except csv.Error as error:
        raise DataError(f"{path}, after row {number}: {error}") from error


def _rows(header: str, lines: Iterator[str]) -> Iterator[list[str]]:
    def all_lines() -> Iterator[str]:
        yield header
        yield from lines

    if "\t" in header:
        return csv.reader(all_lines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    return csv.reader(
        all_lines(), delimiter="," if "," in header else ";", strict=True, skipinitialspace=True
    )


def _with_numbers(row: dict[str, str | None]) -> dict[str, Any]:
    """Return the row with its times as numbers."""
    entry: dict[str, Any] = dict(row)
    for name in _NUMBERS:
        if (value := row.get(name)) is not None:
            try:
                entry[name] = float(value)
            except ValueError:
                raise MalformedError(f'"{name}" must be seconds, found {value!r}') from None
    return entry
