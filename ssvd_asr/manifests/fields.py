"""Fields of one entry, by the names that we, NeMo, Hugging Face, Common Voice and SpeechBrain give them.

An entry with a name that is not known is no utterance: the name may say which part of the file is meant.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

from ssvd_asr.audio.read import OneWave
from ssvd_asr.errors import DataError
from ssvd_asr.manifests.sources import Entry, exists, shown, unsupported
from ssvd_asr.manifests.utterances import Problem, Utterance

# The names of each meaning: ours first.
KEYS = {
    "audio": ("audio", "audio_filepath", "path", "file_name", "wav"),
    "text": ("text", "sentence", "transcription", "wrd"),
    "start": ("start_s", "offset"),
    "duration": ("duration_s", "duration"),
    "speaker": ("speaker", "speaker_id", "spk_id", "client_id"),
    "id": ("id", "ID"),
    "channel": ("channel",),
}
_ROW_NUMBERS = ("", "Unnamed: 0", "__index_level_0__")  # as pandas writes them
# Names that change neither the audio nor the words. Their values are not read.
NOTES = (
    "voice", "domain", "accent", "accents", "age", "gender", "dialect", "variant",
    "lang", "language", "locale", "lang_id", "lang_group_id", "source_lang",
    "up_votes", "down_votes", "sentence_id", "sentence_domain", "segment",  # Common Voice
    "chapter_id", "segment_id", "audio_id", "file", "split", "is_gold_transcript",
    "group",  # of utterances that are in one split (recipes/debian)
    "raw_text", "raw_transcription", "normalized_text", "pred_text",  # the words in another spelling
    "sampling_rate", "sample_rate", "orig_sr", "num_samples",
    *_ROW_NUMBERS,
)  # fmt: skip
KNOWN = {key: key for key in (*(key for keys in KEYS.values() for key in keys), *NOTES)}
_NAMED = [key for key in KNOWN if key not in _ROW_NUMBERS]  # of which the nearest is told


class MalformedError(ValueError):
    """An entry that cannot be understood; the message says why."""


def audio_of(entry: Mapping[str, Any]) -> str:
    """Return the audio of an entry that may be malformed, for its Problem."""
    named = next((entry[key] for key in KEYS["audio"] if isinstance(entry.get(key), str)), "")
    return named.encode(errors="backslashreplace").decode()


def check_columns(path: Path, names: Sequence[str]) -> None:
    """Raise DataError if a table has a column whose name is unknown, or one twice."""
    for name in names:
        if name not in KNOWN:
            raise DataError(f"{path}: {_unknown(name)} (a table's first line names its columns)")
        if names.count(name) > 1:
            raise DataError(f"{path}: the column {name!r} stands twice in the header")


def _unknown(key: str) -> str:
    return f"unknown key {shown(key)}; the nearest known one is {_nearest(key)!r}"


@dataclass
class FieldReader:
    """Reader of the entries of one manifest. Relative paths are relative to the manifest's folder.

    Attributes:
        needs_text: whether an entry without a text is malformed; else its text is empty.
    """

    manifest: Path
    needs_text: bool
    _split: object = None  # of the entries read so far

    def read(self, entry: Mapping[str, Any], name: str) -> Entry:
        """Return the utterance of an entry.

        Args:
            name: of the entry, such as ``train.jsonl:7``; the id where it has none.

        Raises:
            MalformedError: a name is unknown, a needed one is missing, a value is of the wrong type, or two
                names of one meaning have different values.
            DataError: the entry and an earlier one are of different splits.
        """
        for key in entry:
            if key not in KNOWN:
                raise MalformedError(_unknown(key))
        self._check_split(entry)
        audio = _text(entry, "audio", _file_name).strip()
        if not audio or "\0" in audio:
            raise MalformedError(f"the audio must be a path, found {shown(audio)}")
        text = (
            _text(entry, "text", _written) if self.needs_text or _value(entry, "text")[0] is not None else ""
        )
        start_key, start_s = _seconds(entry, "start")
        duration_key, duration_s = _seconds(entry, "duration")
        if duration_s == 0:
            raise MalformedError(f'"{duration_key}" must be more than 0 s')
        identity = _label(entry, "id") or name
        if reason := unsupported(audio):
            return Problem(identity, audio, "unsupported source", reason)
        # NeMo's "duration" without an "offset" is the length of the whole file.
        whole = duration_key == "duration" and start_key is None
        return Utterance(
            id=identity,
            audio=_place(self.manifest, audio),
            text=text,
            start_s=start_s or 0.0,
            duration_s=None if whole else duration_s,
            speaker=_label(entry, "speaker"),
            file_s=duration_s if whole else None,
            channel=_channel(entry),
        )

    def _check_split(self, entry: Mapping[str, Any]) -> None:
        """Raise DataError for a second split: who trains on one must not train on the others unawares."""
        split = entry.get("split")
        if split is None or not self.needs_text:
            return
        if self._split is not None and split != self._split:
            raise DataError(
                f"{self.manifest} holds several splits ({shown(self._split)}, {shown(split)}): "
                "write a file for each"
            )
        self._split = split


def _place(manifest: Path, audio: str) -> Path:
    """Return the file that an entry means: the first of these that exists, else the first.

    It lies relative to the manifest's folder; with backslashes read as slashes; in the folder `clips` beside
    the manifest, as Common Voice means it; or relative to the folder of the file that a link leads to.
    """
    named = Path(audio).expanduser() if audio.startswith("~/") else Path(audio)
    folder = manifest.parent
    path = folder / named
    if named.is_absolute() or exists(path):
        return path
    others = [folder / audio.replace("\\", "/"), folder / "clips" / named]
    if manifest.is_symlink():
        others.append(manifest.resolve().parent / named)
    return next((other for other in others if exists(other)), path)


@lru_cache
def _nearest(key: str) -> str:
    lowered = key.strip().lower()[:100]
    return KNOWN.get(lowered) or get_close_matches(lowered, _NAMED, n=1, cutoff=0.0)[0]


def _value(entry: Mapping[str, Any], meaning: str) -> tuple[str | None, Any]:
    """Return the key and value of a meaning; null counts as absent."""
    found = [(key, entry[key]) for key in KEYS[meaning] if entry.get(key) is not None]
    if not found:
        return None, None
    key, value = found[0]
    for other, differing in found[1:]:
        if differing != value:
            raise MalformedError(
                f'"{key}" is {shown(value)} and "{other}" is {shown(differing)}, which mean the same'
            )
    return key, value


def _text(entry: Mapping[str, Any], meaning: str, checked: Callable[[str, str], str]) -> str:
    key, value = _value(entry, meaning)
    if key is None:
        raise MalformedError(f'no "{meaning}" (names that it may have: {", ".join(KEYS[meaning])})')
    if not isinstance(value, str):
        raise MalformedError(f'"{key}" must be a string, found {shown(value)}')
    return checked(key, value)


def _label(entry: Mapping[str, Any], meaning: str) -> str | None:
    key, value = _value(entry, meaning)
    if key is None:
        return None
    if not isinstance(value, str | int) or isinstance(value, bool) or value == "":
        raise MalformedError(f'"{key}" must be a name or a whole number, found {shown(value)}')
    return _written(key, str(value))


def _written(key: str, value: str) -> str:
    """Return the value. JSON can spell half a character, which no file can hold."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise MalformedError(f'"{key}" holds half a character (a lone surrogate)') from error
    if "\0" in value:
        raise MalformedError(f'"{key}" holds a zero byte, as no text does')
    return value


def _file_name(key: str, value: str) -> str:
    r"""Return a path. Bytes of it that are no UTF-8 are spelt `\udcXX`, as Python spells them in JSON."""
    try:
        os.fsencode(value)
    except UnicodeEncodeError as error:
        raise MalformedError(f'"{key}" holds half a character (a lone surrogate)') from error
    return value


def _channel(entry: Mapping[str, Any]) -> OneWave:
    key, value = _value(entry, "channel")
    if key is None or value == "mix":
        return "mix"
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise MalformedError(f'"{key}" must be the number of one, from 0, or "mix", found {shown(value)}')
    return value


def _seconds(entry: Mapping[str, Any], meaning: str) -> tuple[str | None, float | None]:
    key, value = _value(entry, meaning)
    if key is None:
        return None, None
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise MalformedError(f'"{key}" must be seconds, found {shown(value)}')
    try:
        seconds = float(value)
    except OverflowError:
        seconds = math.inf
    if not math.isfinite(seconds) or seconds < 0:
        raise MalformedError(f'"{key}" must be seconds >= 0, found {shown(value)}')
    return key, seconds
