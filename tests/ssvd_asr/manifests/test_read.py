"""Every kind of data becomes the same utterances; what cannot is named, line by line."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from ssvd_asr.errors import DataError
from ssvd_asr.manifests.read import read_entries
from ssvd_asr.manifests.utterances import Utterance
from tests.training.conftest import write_manifest


def test_what_is_no_data_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no data at"):
        read_entries(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match="not a kind of data"):
        read_entries(write_manifest(tmp_path / "a.wav", []))
    with pytest.raises(DataError, match="is no folder of data"):
        read_entries(tmp_path)
    binary = tmp_path / "b.jsonl"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="UTF-8"):
        read_entries(binary)
    (tmp_path / "c.jsonl.gz").write_bytes(b"no gzip")
    with pytest.raises(DataError, match="not readable"):
        read_entries(tmp_path / "c.jsonl.gz")


def test_a_gzipped_manifest_is_no_cut_set(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "m.jsonl.gz", "wt") as stream:
        stream.write('{"audio": "a.wav", "text": "one"}\n')
    assert read_entries(tmp_path / "m.jsonl.gz") == [Utterance("m.jsonl.gz:1", tmp_path / "a.wav", "one")]
