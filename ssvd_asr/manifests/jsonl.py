"""Reader of JSON manifests: an object on each line, or in a `.json` file one list of objects."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from ssvd_asr.errors import DataError
from ssvd_asr.manifests.fields import MalformedError, audio_of, read_fields
from ssvd_asr.manifests.sources import Entry, parse_json, text_lines, without_repeats
from ssvd_asr.manifests.utterances import Problem


def read_jsonl(path: Path, *, needs_text: bool = True) -> Iterator[Entry]:
    """Yield one entry for each object. Relative audio paths are relative to the manifest's folder.

    Raises:
        DataError: the file is not UTF-8 text, or begins as a list and is none.
    """
    yield from without_repeats(_named_entries(path, needs_text))


def _named_entries(path: Path, needs_text: bool) -> Iterator[tuple[str, Entry]]:
    first = next((line for _, line in text_lines(path)), "")
    if first.lstrip().startswith("[") and ".jsonl" not in path.name.lower():
        for number, value in enumerate(_list(path), 1):
            yield _entry(path, f"entry {number}", number, lambda value=value: value, needs_text)  # type: ignore[misc]
        return
    for number, line in text_lines(path):
        yield _entry(path, f"line {number}", number, partial(parse_json, line), needs_text)


def _list(path: Path) -> list[Any]:
    try:
        found = parse_json("".join(line for _, line in text_lines(path)))
    except ValueError as error:
        raise DataError(f"{path} begins as a list of objects and is none: {error}") from error
    assert isinstance(found, list)
    return found


def _entry(
    path: Path, place: str, number: int, value: Callable[[], Any], needs_text: bool
) -> tuple[str, Entry]:
    name = f"{path.name}:{number}"
    audio = ""
    try:
        entry = value()
        if not isinstance(entry, dict):
            raise MalformedError(f"expected an object, found {type(entry).__name__}")
        audio = audio_of(entry)
        return name, read_fields(entry, name, path, needs_text=needs_text)
    except ValueError as error:  # from the JSON or of the entry
        return name, Problem(name, audio, "malformed entry", f"{place}: {error}")
