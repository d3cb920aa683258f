"""Reader of JSON manifests: an object on each line, or in a `.json` file one list of objects."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ssvd_asr.errors import DataError
from ssvd_asr.manifests.fields import FieldReader, MalformedError, audio_of
from ssvd_asr.manifests.sources import Entry, parse_json, text_lines, without_repeats
from ssvd_asr.manifests.utterances import Problem


@dataclass(frozen=True)
class JsonValue:
    """A value of a file: its number, its place in words, and `parse`, which raises ValueError for no JSON."""

    number: int
    place: str
    parse: Callable[[], Any]


def json_values(path: Path) -> Iterator[JsonValue]:
    """Yield what stands on each line, or each item of the list that a `.json` file is.

    Raises:
        DataError: the file is no text, begins as a list and is none, or is one object.
    """
    first = next((line for _, line in text_lines(path)), "").lstrip()
    if ".jsonl" not in path.name.lower():
        if first.startswith("["):
            for number, value in enumerate(_list(path), 1):
                yield JsonValue(number, f"entry {number}", partial(_itself, value))
            return
        _check_no_single_object(path, first)
    for number, line in text_lines(path):
        yield JsonValue(number, f"line {number}", partial(parse_json, line))


def read_jsonl(path: Path, *, needs_text: bool = True) -> Iterator[Entry]:
    """Yield one entry for each object. Relative audio paths are relative to the manifest's folder.

    Raises:
        DataError: as `json_values` does, or the file holds several splits.
    """
    fields = FieldReader(path, needs_text)
    yield from without_repeats(_entry(fields, value) for value in json_values(path))


def _itself(value: Any) -> Any:
    return value


def _list(path: Path) -> list[Any]:
    try:
        found = parse_json("".join(line for _, line in text_lines(path)))
    except ValueError as error:
        raise DataError(f"{path} begins as a list of objects and is none: {error}") from error
    assert isinstance(found, list)
    return found


def _check_no_single_object(path: Path, first: str) -> None:
    """Raise DataError if the file is one object over several lines, or one of objects by their ids."""
    if not first.startswith("{"):
        return
    lines = [line for _, line in text_lines(path)]
    try:
        found = parse_json("".join(lines))
    except ValueError:
        return  # an object on each line
    if len(lines) > 1 or (found and all(isinstance(value, dict) for value in found.values())):
        raise DataError(
            f"{path} is one object, not a list of entries: write an object on each line, or [...] around them"
        )


def _entry(fields: FieldReader, value: JsonValue) -> tuple[str, Entry]:
    name = f"{fields.manifest.name}:{value.number}"
    audio = ""
    try:
        entry = value.parse()
        if not isinstance(entry, dict):
            raise MalformedError(f"expected an object, found {type(entry).__name__}")
        audio = audio_of(entry)
        return name, fields.read(entry, name)
    except DataError:  # of the whole file; it is a ValueError too
        raise
    except ValueError as error:  # from the JSON or of the entry
        return name, Problem(name, audio, "malformed entry", f"{value.place}: {error}")
