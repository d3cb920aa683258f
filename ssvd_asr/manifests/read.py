"""Readers of JSONL manifests, Kaldi/ESPnet data directories and lhotse cut sets.

All yield frozen `Utterance`s. An entry that is not fully understood becomes a `Problem` and raises nothing;
a source that is no manifest at all (missing, wrong kind, not text) raises DataError.
"""

from __future__ import annotations

from pathlib import Path

from ssvd_asr.errors import DataError
from ssvd_asr.manifests.cuts import read_cuts
from ssvd_asr.manifests.jsonl import read_jsonl
from ssvd_asr.manifests.kaldi import read_kaldi
from ssvd_asr.manifests.sources import Entry, parse_json, text_lines


def read_entries(source: Path) -> list[Entry]:
    """Return every entry of ``source``, in its order.

    ``source`` is a directory with ``wav.scp`` and ``text`` (Kaldi, ESPnet), or a ``.jsonl`` or
    ``.jsonl.gz`` file of manifest lines or lhotse cuts. The first line that is JSON decides which.

    Raises:
        DataError: ``source`` does not exist, or is of no such kind.
    """
    if source.is_dir():
        return list(read_kaldi(source))
    if not source.is_file():
        raise DataError(f"no data at {source}: neither a manifest file nor a data directory")
    if not source.name.endswith((".jsonl", ".jsonl.gz")):
        raise DataError(
            f"{source} is not a kind of data we read: .jsonl (manifest or lhotse cuts), "
            ".jsonl.gz, or a Kaldi data directory"
        )
    return list(read_cuts(source) if _holds_cuts(source) else read_jsonl(source))


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
