"""Readers of JSONL manifests, Kaldi/ESPnet data directories and lhotse cut sets.

All yield frozen `Utterance`s. An unusable entry becomes a `Problem` and raises nothing; a source that is
no manifest at all (missing, wrong kind, not text) raises DataError.
Cut sets need lhotse, which the extra `train` brings.
"""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ssvd_asr.errors import DataError
from training.corpus.utterances import Problem, Utterance

Entry = Utterance | Problem


def read_entries(source: Path) -> list[Entry]:
    """Return every entry of ``source``, in its order.

    ``source`` is a directory with ``wav.scp`` and ``text`` (Kaldi, ESPnet), or a ``.jsonl`` or
    ``.jsonl.gz`` file of manifest lines or lhotse cuts. The first line decides which.

    Raises:
        DataError: ``source`` does not exist, or is of no such kind.
    """
    if source.is_dir():
        return list(_kaldi(source))
    if not source.is_file():
        raise DataError(f"no data at {source}: neither a manifest file nor a data directory")
    if not source.name.endswith((".jsonl", ".jsonl.gz")):
        raise DataError(
            f"{source} is not a kind of data we read: .jsonl (manifest or lhotse cuts), "
            ".jsonl.gz, or a Kaldi data directory"
        )
    return list(_cuts(source) if _holds_cuts(source) else _jsonl(source))


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the non-blank lines with their numbers. Raises DataError if the file is not UTF-8 text."""
    opener = gzip.open if path.name.endswith(".gz") else open
    try:
        with opener(path, "rt", encoding="utf-8") as stream:
            for number, line in enumerate(stream, 1):
                if line.strip():
                    yield number, line
    except (UnicodeDecodeError, gzip.BadGzipFile, EOFError) as error:
        raise DataError(f"{path} is not readable as UTF-8 text: {error}") from error


def _holds_cuts(path: Path) -> bool:
    for _, line in _lines(path):
        try:
            first = json.loads(line)
        except json.JSONDecodeError:
            return False
        return isinstance(first, dict) and (
            "supervisions" in first or str(first.get("type", "")).endswith("Cut")
        )
    return False


# --- JSONL -------------------------------------------------------------------------------------


def _jsonl(path: Path) -> Iterator[Entry]:
    for number, line in _lines(path):
        name = f"{path.name}:{number}"
        try:
            entry = json.loads(line)
        except json.JSONDecodeError as error:
            yield Problem(name, "", "malformed entry", f"line {number} is not JSON: {error.msg}")
            continue
        yield _from_json(entry, name, path.parent)


def _from_json(entry: Any, name: str, folder: Path) -> Entry:
    """Read one manifest line. Relative audio paths are relative to the manifest's folder."""
    if not isinstance(entry, dict):
        return Problem(name, "", "malformed entry", f"expected an object, found {type(entry).__name__}")
    audio, text = entry.get("audio"), entry.get("text")
    if not isinstance(audio, str) or not audio:
        return Problem(name, "", "malformed entry", f'"audio" must be a path, found {audio!r}')
    if not isinstance(text, str):
        return Problem(name, audio, "malformed entry", f'"text" must be a string, found {text!r}')
    start_s, duration_s = entry.get("start_s", 0.0), entry.get("duration_s")
    if not _is_time(start_s) or start_s < 0:
        return Problem(name, audio, "malformed entry", f'"start_s" must be seconds >= 0, found {start_s!r}')
    if duration_s is not None and (not _is_time(duration_s) or duration_s <= 0):
        return Problem(
            name, audio, "malformed entry", f'"duration_s" must be seconds > 0, found {duration_s!r}'
        )
    speaker = entry.get("speaker")
    return Utterance(
        id=str(entry.get("id", name)),
        audio=folder / audio,
        text=text,
        start_s=float(start_s),
        duration_s=None if duration_s is None else float(duration_s),
        speaker=None if speaker is None else str(speaker),
    )


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


# --- Kaldi and ESPnet data directories ---------------------------------------------------------


def _kaldi(folder: Path) -> Iterator[Entry]:
    """Read wav.scp and text, and segments and utt2spk if present.

    Relative paths are tried from the current directory, as Kaldi does, then from the data directory.
    """
    for needed in ("wav.scp", "text"):
        if not (folder / needed).is_file():
            raise DataError(f"{folder} is not a Kaldi data directory: it has no {needed}")
    tables = {
        name: _kaldi_table(folder / name) if (folder / name).is_file() else {}
        for name in ("wav.scp", "text", "segments", "utt2spk")
    }
    segments = tables["segments"] or {key: key for key in tables["wav.scp"]}
    for key in tables["text"]:
        if key not in segments:
            yield Problem(
                key, "", "missing file", f"{folder.name}/text names it, segments and wav.scp do not"
            )
    for key, segment in segments.items():
        yield _kaldi_entry(folder, key, segment, tables)


def _kaldi_table(path: Path) -> dict[str, str]:
    """One file of a data directory: on each line a key, and the rest as its value, which may be empty."""
    table = {}
    for _, line in _lines(path):
        key, *value = line.split(maxsplit=1)
        table[key] = value[0].rstrip() if value else ""
    return table


def _kaldi_entry(folder: Path, key: str, segment: str, tables: dict[str, dict[str, str]]) -> Entry:
    recording, _, times = segment.partition(" ")
    source = tables["wav.scp"].get(recording, "").strip()
    if not source:
        return Problem(key, recording, "missing file", f"recording {recording!r} has no line in wav.scp")
    if source.endswith("|"):
        return Problem(
            key, source, "unsupported source", "wav.scp holds a command; write its output to a file"
        )
    if key not in tables["text"]:
        return Problem(key, source, "empty text", f"{folder.name}/text has no line for it")
    start_s, duration_s = 0.0, None
    if times:
        try:
            start_s, end_s = map(float, times.split())
        except ValueError:
            return Problem(
                key, source, "malformed entry", f"segments must hold start and end, found {times!r}"
            )
        if start_s < 0 or (end_s != -1 and end_s <= start_s):
            return Problem(key, source, "malformed entry", f"segment from {start_s} to {end_s} s")
        duration_s = None if end_s == -1 else end_s - start_s  # Kaldi: -1 means the end of the recording
    audio = Path(source)
    if not audio.is_absolute() and not audio.exists():
        audio = folder / audio
    return Utterance(key, audio, tables["text"][key], start_s, duration_s, tables["utt2spk"].get(key) or None)


# --- lhotse ------------------------------------------------------------------------------------


def _cuts(path: Path) -> Iterator[Entry]:
    """Yield one entry for each supervision of each cut.

    Relative paths are tried from the current directory, as lhotse does, then from the cut set's folder.
    """
    from lhotse.serialization import deserialize_item

    for number, line in _lines(path):
        name = f"{path.name}:{number}"
        try:
            cut = deserialize_item(json.loads(line))
        # lhotse's dataclasses raise KeyError, TypeError, AssertionError or ValueError.
        except Exception as error:
            yield Problem(name, "", "malformed entry", f"lhotse cannot read line {number}: {error!r}")
            continue
        yield from _cut_entries(cut, name, path.parent)


def _cut_entries(cut: Any, name: str, folder: Path) -> Iterator[Entry]:
    if type(cut).__name__ not in ("MonoCut", "MultiCut") or not cut.has_recording:
        yield Problem(
            name, "", "unsupported source", f"a {type(cut).__name__} without a recording of its own"
        )
        return
    sources = cut.recording.sources
    if len(sources) != 1 or sources[0].type != "file":
        kinds = ", ".join(source.type for source in sources)
        yield Problem(cut.id, "", "unsupported source", f"needs one source of type file, found: {kinds}")
        return
    if cut.recording.transforms:
        yield Problem(
            cut.id, sources[0].source, "unsupported source", "the recording is transformed on the fly"
        )
        return
    audio = Path(sources[0].source)
    if not audio.is_absolute() and not audio.exists():
        audio = folder / audio
    if not cut.supervisions:
        yield Problem(cut.id, str(audio), "empty text", "the cut has no supervision")
    for supervision in cut.supervisions:
        # A supervision may extend past the cut's edges; only the part inside counts.
        start_s = max(0.0, supervision.start)
        end_s = min(cut.duration, supervision.end)
        identity = supervision.id if len(cut.supervisions) > 1 else cut.id
        if end_s <= start_s:
            yield Problem(identity, str(audio), "malformed entry", "the supervision lies outside its cut")
            continue
        yield Utterance(
            id=identity,
            audio=audio,
            text=supervision.text or "",
            start_s=cut.start + start_s,
            duration_s=end_s - start_s,
            speaker=supervision.speaker,
        )
