"""Reader of JSONL manifests, by the names that we, NeMo and Hugging Face give the fields.

A line with a key that is not known is no utterance: the key may say which part of the file is meant.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from training.corpus.sources import Entry, parse_json, text_lines, unsupported, without_repeats
from training.corpus.utterances import Problem, Utterance

# The keys of each meaning: ours first, then NeMo's and Hugging Face's.
KEYS = {
    "audio": ("audio", "audio_filepath", "path", "file_name"),
    "text": ("text", "sentence", "transcription"),
    "start": ("start_s", "offset"),
    "duration": ("duration_s", "duration"),
    "speaker": ("speaker",),
    "id": ("id",),
    "channel": ("channel",),
}
# Keys that change neither the audio nor the words. Their values are not read.
NOTES = ("voice", "domain", "accent", "age", "gender")
_KNOWN = {key: key for key in (*(key for keys in KEYS.values() for key in keys), *NOTES)}


class _MalformedError(ValueError):
    """An entry that cannot be understood; the message says why."""


def read_jsonl(path: Path) -> Iterator[Entry]:
    """Yield one entry for each line. Relative audio paths are relative to the manifest's folder.

    Raises:
        DataError: the file is not UTF-8 text.
    """
    yield from without_repeats(_named_entries(path))


def _named_entries(path: Path) -> Iterator[tuple[str, Entry]]:
    for number, line in text_lines(path):
        name = f"{path.name}:{number}"
        audio = ""
        try:
            entry = parse_json(line)
            if not isinstance(entry, dict):
                raise _MalformedError(f"expected an object, found {type(entry).__name__}")
            audio = _audio_of(entry)
            yield name, _read_entry(entry, name, path.parent)
        except ValueError as error:  # from the JSON or of the entry
            yield name, Problem(name, audio, "malformed entry", f"line {number}: {error}")


def _audio_of(entry: dict[str, Any]) -> str:
    """Return the audio of an entry that may be malformed, for its Problem."""
    named = next((entry[key] for key in KEYS["audio"] if isinstance(entry.get(key), str)), "")
    return named.encode(errors="backslashreplace").decode()


def _read_entry(entry: dict[str, Any], name: str, folder: Path) -> Entry:
    for key in entry:
        if key not in _KNOWN:
            raise _MalformedError(f"unknown key {key!r}; the nearest known one is {_nearest(key)!r}")
    audio = _text(entry, "audio")
    if not audio or "\0" in audio:
        raise _MalformedError(f"the audio must be a path, found {audio!r}")
    text = _text(entry, "text")
    start_key, start_s = _seconds(entry, "start")
    duration_key, duration_s = _seconds(entry, "duration")
    if duration_s == 0:
        raise _MalformedError(f'"{duration_key}" must be more than 0 s')
    identity = _label(entry, "id") or name
    if reason := unsupported(audio):
        return Problem(identity, audio, "unsupported source", reason)
    # NeMo's "duration" without an "offset" is the length of the whole file.
    whole = duration_key == "duration" and start_key is None
    return Utterance(
        id=identity,
        audio=folder / audio,
        text=text,
        start_s=start_s or 0.0,
        duration_s=None if whole else duration_s,
        speaker=_label(entry, "speaker"),
        file_s=duration_s if whole else None,
        channel=_channel(entry),
    )


@lru_cache
def _nearest(key: str) -> str:
    lowered = key.lower()[:100]
    return _KNOWN.get(lowered) or get_close_matches(lowered, _KNOWN, n=1, cutoff=0.0)[0]


def _value(entry: dict[str, Any], meaning: str) -> tuple[str | None, Any]:
    """Return the key and value of a meaning; null counts as absent."""
    found = [(key, entry[key]) for key in KEYS[meaning] if entry.get(key) is not None]
    if not found:
        return None, None
    key, value = found[0]
    for other, differing in found[1:]:
        if differing != value:
            raise _MalformedError(f'"{key}" is {value!r} and "{other}" is {differing!r}, which mean the same')
    return key, value


def _text(entry: dict[str, Any], meaning: str) -> str:
    key, value = _value(entry, meaning)
    if key is None:
        raise _MalformedError(f'no "{meaning}"')
    if not isinstance(value, str):
        raise _MalformedError(f'"{key}" must be a string, found {value!r}')
    return _written(key, value)


def _label(entry: dict[str, Any], meaning: str) -> str | None:
    key, value = _value(entry, meaning)
    if key is None:
        return None
    if not isinstance(value, str | int) or isinstance(value, bool) or value == "":
        raise _MalformedError(f'"{key}" must be a name or a whole number, found {value!r}')
    return _written(key, str(value))


def _written(key: str, value: str) -> str:
    """Return the value. JSON can spell half a character, which no file can hold."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise _MalformedError(f'"{key}" holds half a character (a lone surrogate)') from error
    return value


def _channel(entry: dict[str, Any]) -> int | Literal["mix"]:
    key, value = _value(entry, "channel")
    if key is None or value == "mix":
        return "mix"
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise _MalformedError(f'"{key}" must be the number of one, from 0, or "mix", found {value!r}')
    return value


def _seconds(entry: dict[str, Any], meaning: str) -> tuple[str | None, float | None]:
    key, value = _value(entry, meaning)
    if key is None:
        return None, None
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _MalformedError(f'"{key}" must be seconds, found {value!r}')
    try:
        seconds = float(value)
    except OverflowError:
        seconds = math.inf
    if not math.isfinite(seconds) or seconds < 0:
        raise _MalformedError(f'"{key}" must be seconds >= 0, found {value!r}')
    return key, seconds
