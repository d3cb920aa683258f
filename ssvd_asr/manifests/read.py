"""Readers of manifests: JSON, tables, Kaldi/ESPnet data directories, lhotse cut sets, Hugging Face folders.

All yield frozen `Utterance`s. An entry that is not fully understood becomes a `Problem` and raises nothing;
a source that is no manifest at all (missing, wrong kind, not text) raises DataError.
"""

from __future__ import annotations

from pathlib import Path

from ssvd_asr.errors import DataError
from ssvd_asr.manifests.cuts import read_cuts
from ssvd_asr.manifests.jsonl import read_jsonl
from ssvd_asr.manifests.kaldi import check_kaldi, read_kaldi
from ssvd_asr.manifests.sources import Entry, parse_json, text_lines
from ssvd_asr.manifests.tables import read_table

JSON_SUFFIXES = (".jsonl", ".jsonl.gz", ".json", ".json.gz")
TABLE_SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz")
METADATA_FILES = ("metadata.jsonl", "metadata.csv")  # of Hugging Face's `audiofolder`


def is_data(source: Path) -> bool:
    """Return whether a path is a manifest by its name, or a folder that holds data and not only audio."""
    if source.is_dir():
        return any((source / name).is_file() for name in ("wav.scp", *METADATA_FILES))
    return source.name.lower().endswith((*JSON_SUFFIXES, *TABLE_SUFFIXES))


def read_entries(source: Path, *, needs_text: bool = True) -> list[Entry]:
    """Return every entry of ``source``, in its order.

    ``source`` is a directory with ``wav.scp`` and ``text`` (Kaldi, ESPnet) or with ``metadata.csv`` or
    ``metadata.jsonl`` (Hugging Face), a ``.jsonl`` or ``.json`` file of manifest entries or lhotse cuts, or
    a ``.csv`` or ``.tsv`` table. Any file may be gzipped. The first JSON line tells manifests from cuts.

    Args:
        needs_text: whether an entry without words is a Problem; else its text is empty.

    Raises:
        DataError: ``source`` does not exist, or is of no such kind.
    """
    found = check_source(source)
    if found.is_dir():
        return list(read_kaldi(found, needs_text=needs_text))
    if found.name.lower().endswith(TABLE_SUFFIXES):
        return list(read_table(found, needs_text=needs_text))
    reader = read_cuts if _holds_cuts(found) else read_jsonl
    return list(reader(found, needs_text=needs_text))


def check_source(source: Path) -> Path:
    """Return the file or Kaldi directory that is read for ``source``. Reads nothing of it.

    Raises:
        DataError: ``source`` does not exist, or is of no kind that is read.
    """
    if source.is_dir():
        metadata = [source / name for name in METADATA_FILES if (source / name).is_file()]
        if (source / "wav.scp").is_file() or not metadata:
            check_kaldi(source)
            return source
        if len(metadata) > 1:
            raise DataError(f"{source} has {metadata[0].name} and {metadata[1].name}: name the one to read")
        return metadata[0]
    if not source.exists():
        raise DataError(f"no data at {source}: neither a manifest file nor a data directory")
    if not source.name.lower().endswith((*JSON_SUFFIXES, *TABLE_SUFFIXES)):
        raise DataError(
            f"{source} is not a kind of data we read: {', '.join((*JSON_SUFFIXES, *TABLE_SUFFIXES))}, "
            "a Kaldi data directory, or a folder with metadata.csv or metadata.jsonl"
        )
    return source


def _holds_cuts(path: Path) -> bool:
    for _, line in text_lines(path):
        try:
            first = parse_json(line)
        except ValueError:
            continue
        return isinstance(first, dict) and (
            "supervisions" in first or str(first.get("type", "")).endswith("Cut")
        )
    return False
