"""Reader of Kaldi and ESPnet data directories."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ssvd_asr.errors import DataError
from training.corpus.sources import Entry, text_lines
from training.corpus.utterances import Problem, Utterance


def read_kaldi(folder: Path) -> Iterator[Entry]:
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
    for _, line in text_lines(path):
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
