"""Readers of manifests: JSON, tables, Kaldi/ESPnet data directories, lhotse cut sets, Hugging Face folders.

All yield frozen `Utterance`s. An entry that is not fully understood becomes a `Problem` and raises nothing;
a source that is no manifest at all (missing, wrong kind, not text) raises DataError.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ssvd_asr.errors import DataError
from ssvd_asr.manifests.cuts import read_cuts
from ssvd_asr.manifests.events import without_events
from ssvd_asr.manifests.jsonl import json_values, read_jsonl
from ssvd_asr.manifests.kaldi import check_kaldi, read_kaldi
from ssvd_asr.manifests.packed import is_packed, packed_files, read_packed
from ssvd_asr.manifests.sources import Entry
from ssvd_asr.manifests.tables import read_table
from ssvd_asr.manifests.utterances import Problem

JSON_SUFFIXES = (".jsonl", ".jsonl.gz", ".json", ".json.gz")
TABLE_SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz")
METADATA_FILES = ("metadata.jsonl", "metadata.csv")  # of Hugging Face's `audiofolder`


def is_data(source: Path) -> bool:
    """Return whether a path is a manifest by its name, or a folder that holds data and not only audio."""
    if is_packed(source):
        return True
    if source.is_dir():
        return any((source / name).is_file() for name in ("wav.scp", *METADATA_FILES))
    return source.name.lower().endswith((*JSON_SUFFIXES, *TABLE_SUFFIXES))


def read_entries(source: Path, *, needs_text: bool = True) -> list[Entry]:
    """Return every entry of ``source``, in its order.

    ``source`` is a directory with ``wav.scp`` and ``text`` (Kaldi, ESPnet) or with ``metadata.csv`` or
    ``metadata.jsonl`` (Hugging Face), a ``.jsonl`` or ``.json`` file of manifest entries or lhotse cuts, or
    a ``.csv`` or ``.tsv`` table; these may be gzipped. The first JSON line tells manifests from cuts. Also a
    ``.parquet`` file, or a folder of such files or of ``save_to_disk`` (Hugging Face).

    Tags of events such as ``<noise>`` are dropped from texts by the rule of `ssvd_asr.manifests.events`.

    Args:
        needs_text: whether an entry without words is a Problem; else its text is empty.

    Raises:
        DataError: ``source`` does not exist, or is of no such kind.
    """
    found = check_source(source)
    if is_packed(found):
        entries = read_packed(found, needs_text=needs_text)
    elif found.is_dir():
        entries = read_kaldi(found, needs_text=needs_text)
    elif found.name.lower().endswith(TABLE_SUFFIXES):
        entries = read_table(found, needs_text=needs_text)
    else:
        reader = read_cuts if _holds_cuts(found) else read_jsonl
        entries = reader(found, needs_text=needs_text)
    return [_spoken(entry) for entry in entries]


def _spoken(entry: Entry) -> Entry:
    """Return an entry without tags of events in its text."""
    if isinstance(entry, Problem):
        return entry
    spoken = without_events(entry.text)
    doubts = [f"{tag} stands for words that the text has not" for tag in spoken.unheard]
    doubts += [f"{words} is no known tag and stays" for words in spoken.kept]
    return replace(entry, text=spoken.text, tags=spoken.tags, doubts=tuple(doubts))


def check_source(source: Path) -> Path:
    """Return the file or directory that is read for ``source``. Reads nothing of it.

    Raises:
        DataError: ``source`` does not exist, or is of no kind that is read.
    """
    if is_packed(source) and source.exists():
        packed_files(source)
        return source
    if source.is_dir():
        metadata = [source / name for name in METADATA_FILES if (source / name).is_file()]
        if (source / "wav.scp").is_file() or not metadata:
            if not (source / "wav.scp").is_file():
                raise DataError(_no_data_folder(source))
            check_kaldi(source)
            return source
        if len(metadata) > 1:
            raise DataError(f"{source} has {metadata[0].name} and {metadata[1].name}: name the one to read")
        return metadata[0]
    if not source.exists():
        raise DataError(f"no data at {source}: neither a manifest file nor a data directory")
    if not source.is_file():
        raise DataError(f"{source} is no file, but a pipe or a device; write its content to a file")
    if not source.name.lower().endswith((*JSON_SUFFIXES, *TABLE_SUFFIXES)):
        raise DataError(
            f"{source} is not a kind of data we read: {', '.join((*JSON_SUFFIXES, *TABLE_SUFFIXES))}, "
            ".parquet, a Kaldi data directory, a folder of save_to_disk or with metadata.csv or .jsonl"
        )
    return source


def _no_data_folder(folder: Path) -> str:
    """Return what is wanted of a folder, and which files in it might be meant."""
    names = [path.relative_to(folder) for pattern in ("*", "*/*") for path in folder.glob(pattern)]
    meant = sorted(str(name) for name in names if is_data(folder / name) and not name.name.startswith("."))
    hint = f"; name what is meant: {', '.join(meant[:5])}{', ...' if len(meant) > 5 else ''}" if meant else ""
    return (
        f"{folder} is no folder of data: it has none of wav.scp (Kaldi), {', '.join(METADATA_FILES)} or "
        f"Parquet files (Hugging Face){hint}"
    )


def _holds_cuts(path: Path) -> bool:
    """Return whether a file holds lhotse's cuts. Raises DataError for lhotse's other lists."""
    for value in json_values(path):
        try:
            first = value.parse()
        except ValueError:
            continue
        if not isinstance(first, dict):
            return False
        if {"sources", "sampling_rate"} <= first.keys() or {"recording_id", "start"} <= first.keys():
            raise DataError(
                f"{path} is lhotse's list of recordings or of supervisions: "
                "`lhotse cut simple` joins both to cuts"
            )
        return "supervisions" in first or str(first.get("type", "")).endswith("Cut")
    return False
