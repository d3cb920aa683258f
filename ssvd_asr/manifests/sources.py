"""Text lines, JSON and audio paths of data sources, read by one rule for all kinds of data."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ssvd_asr.errors import DataError
from ssvd_asr.manifests.utterances import Problem, Utterance

Entry = Utterance | Problem

_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the non-blank lines of a text file or ``.gz`` with their numbers.

    A byte order mark at the start is dropped, and CRLF ends a line too.

    Raises:
        DataError: the file is not UTF-8 text, or its compression is damaged.
    """
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    try:
        with opener(path, "rt", encoding="utf-8-sig") as stream:
            for number, line in enumerate(stream, 1):
                if line.strip():
                    yield number, line
    except (UnicodeDecodeError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(f"{path} is not readable as UTF-8 text: {error}") from error


def parse_json(line: str) -> Any:
    """Return the JSON value of one line.

    Raises:
        ValueError: the line is not JSON, or an object in it has the same key twice.
    """
    try:
        return json.loads(line, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg}") from error
    except RecursionError as error:
        raise ValueError("not JSON: nested too deeply") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {repeated!r} stands twice in one object")
    return found


def unsupported(audio: str) -> str | None:
    """Return why ``audio`` is no path of a file, or None."""
    if _URL.match(audio):
        return f"{audio} is a URL; download it and name the file"
    if _WINDOWS.match(audio):
        return f"{audio} is a path of Windows from its root; write it relative to the manifest"
    if "\0" in audio:
        return f"{audio!r} holds a zero byte, as no path does"
    return None


def resolved(source: str, folder: Path) -> Path:
    """Return the path: relative ones are tried from the current directory, then from ``folder``."""
    audio = Path(source)
    return audio if audio.is_absolute() or audio.exists() else folder / audio


def without_repeats(named: Iterable[tuple[str, Entry]]) -> Iterator[Entry]:
    """Yield the entries; an utterance with the id of an earlier one becomes a Problem.

    Args:
        named: each entry with the name of its line, such as ``train.jsonl:7``.
    """
    first: dict[str, str] = {}
    for name, entry in named:
        if isinstance(entry, Utterance):
            if entry.id in first:
                detail = f"{name} has the id of {first[entry.id]}"
                entry = Problem(entry.id, str(entry.audio), "duplicate id", detail)
            else:
                first[entry.id] = name
        yield entry
