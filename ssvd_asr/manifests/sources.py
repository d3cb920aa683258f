"""Text lines, JSON and audio paths of data sources, read by one rule for all kinds of data."""

from __future__ import annotations

import codecs
import gzip
import json
import math
import os
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
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_SHOWN_CHARS = 80  # of a value in a message


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the non-blank lines of a text file or ``.gz`` with their numbers.

    The text is UTF-8, or UTF-16 with a byte order mark, as spreadsheets write it. The mark is dropped, and
    CRLF ends a line too.

    Raises:
        DataError: the file cannot be read, is no such text, or its compression is damaged.
    """
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    try:
        with opener(path, "rb") as stream:
            marked = stream.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        with opener(path, "rt", encoding="utf-16" if marked else "utf-8-sig") as stream:
            for number, line in enumerate(stream, 1):
                if "\0" in line:
                    raise DataError(f"{path} is no text: line {number} holds a zero byte; save it as UTF-8")
                if line.strip():
                    yield number, line
    except UnicodeError as error:
        raise DataError(f"{path} is not readable as UTF-8 text: {error}") from error
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(f"{path} is not readable as gzipped text: {error}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


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


def shown(value: object) -> str:
    """Return a value for a message. It may be a whole text, or the bytes of a recording."""
    text = repr(value[:_SHOWN_CHARS] if isinstance(value, str | bytes) else value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."


def number_of(text: str) -> float:
    """Return the number that a text is. Unlike `float`, it takes neither 1_000 nor nan.

    Raises:
        ValueError: it is no finite number.
    """
    if not _NUMBER.fullmatch(text) or not math.isfinite(float(text)):
        raise ValueError(f"no number: {shown(text)}")
    return float(text)


def unsupported(audio: str) -> str | None:
    """Return why ``audio`` is no path of a file, or None."""
    if audio.lower().startswith("file://"):
        return f"{audio} is a URL; write the path alone, without file://"
    if _URL.match(audio):
        return f"{audio} is a URL; download it and name the file"
    if _WINDOWS.match(audio):
        return f"{audio} is a path of Windows from its root; write it relative to the manifest"
    if "\0" in audio:
        return f"{audio!r} holds a zero byte, as no path does"
    return None


def exists(path: Path) -> bool:
    """Return whether a path is there. One that cannot be asked for, as it is too long, is not."""
    return os.path.exists(path)


def resolved(source: str, folder: Path) -> Path:
    """Return the path: relative ones are tried from the current directory, then from ``folder``."""
    audio = Path(source)
    return audio if audio.is_absolute() or exists(audio) else folder / audio


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
