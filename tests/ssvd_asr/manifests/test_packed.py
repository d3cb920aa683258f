"""Data sets of Hugging Face: folders with metadata, Parquet files and folders of `save_to_disk`."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile as sf

from ssvd_asr.audio.read import AudioLimits
from ssvd_asr.errors import DataError
from ssvd_asr.manifests.audio import read_utterance
from ssvd_asr.manifests.read import check_source, is_data, read_entries
from ssvd_asr.manifests.utterances import Problem, Utterance

LIMITS = AudioLimits(max_duration_s=15)
Make = Callable[[Path, list[dict[str, Any]]], Path]


def wav(samples: int) -> bytes:
    stream = io.BytesIO()
    sf.write(stream, np.full(samples, 0.25, np.float32), 16_000, format="WAV")
    return stream.getvalue()


def rows() -> list[dict[str, Any]]:
    return [
        {
            "audio": {"bytes": wav(16_000 * length), "path": f"{length}.wav"},
            "sentence": f"text {length}",
            "client_id": "abc",
            "up_votes": 2,
            "locale": "en",
        }
        for length in (1, 2, 3)
    ]


def parquet(folder: Path, lines: list[dict[str, Any]]) -> Path:
    path = folder / "train-00000-of-00001.parquet"
    pq.write_table(pa.Table.from_pylist(lines), path, row_group_size=2)
    return path


def saved(folder: Path, lines: list[dict[str, Any]]) -> Path:
    """A folder as `Dataset.save_to_disk` of datasets 4 leaves it."""
    table = pa.Table.from_pylist(lines)
    home = folder / "saved"
    home.mkdir()
    with (
        pa.OSFile(str(home / "data-00000-of-00001.arrow"), "wb") as sink,
        pa.ipc.new_stream(sink, table.schema) as writer,
    ):
        writer.write_table(table, max_chunksize=2)
    state = {
        "_data_files": [{"filename": "data-00000-of-00001.arrow"}],
        "_format_type": None,
        "_split": "train",
    }
    (home / "state.json").write_text(json.dumps(state))
    (home / "dataset_info.json").write_text("{}")
    return home


@pytest.fixture(params=[parquet, saved])
def make(request: pytest.FixtureRequest) -> Make:
    found: Make = request.param
    return found


def test_every_row_is_an_utterance_with_its_own_audio(make: Make, tmp_path: Path) -> None:
    source = make(tmp_path, rows())
    assert is_data(source)
    entries = read_entries(source)
    for length, entry in enumerate(entries, 1):
        assert isinstance(entry, Utterance)
        assert (entry.text, entry.speaker) == (f"text {length}", "abc")
        assert entry.audio.exists()
        assert len(read_utterance(entry, LIMITS)) == 16_000 * length
    assert len({str(entry.audio) for entry in entries}) == 3


def test_audio_beside_the_file_is_read_by_its_path(make: Make, tmp_path: Path) -> None:
    lines = [{"audio": {"bytes": None, "path": "a.wav"}, "text": "x"}, {**rows()[0], "text": None}]
    lines[1] = {"audio": lines[1]["audio"], "text": "y"}
    source = make(tmp_path, lines)
    folder = source if source.is_dir() else source.parent
    (folder / "a.wav").write_bytes(wav(8_000))
    first, second = read_entries(source)
    assert isinstance(first, Utterance)
    assert first.audio == folder / "a.wav"
    assert isinstance(second, Utterance)
    assert len(read_utterance(second, LIMITS)) == 16_000


def test_a_row_that_is_not_understood_is_named_and_an_unknown_column_refuses_all(
    make: Make, tmp_path: Path
) -> None:
    lines = [{**row, "duration": length} for length, row in enumerate(rows())]
    first, *others = read_entries(make(tmp_path, lines))
    assert isinstance(first, Problem)
    assert '"duration" must be more than 0 s' in first.detail
    assert len(others) == 2
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    with pytest.raises(DataError, match="unknown key 'begin_time'"):
        read_entries(make(wrong, [{**row, "begin_time": 1.0} for row in rows()]))


@pytest.mark.parametrize(
    "audio",
    [wav(100), {"bytes": wav(100)}, {"array": [0.1], "path": "a.wav", "sampling_rate": 16_000}, [0.1, 0.2]],
    ids=["bytes", "bytes without path", "array", "samples"],
)
def test_audio_in_another_form_is_malformed_and_not_told_in_full(
    make: Make, tmp_path: Path, audio: object
) -> None:
    (found,) = read_entries(make(tmp_path, [{"audio": audio, "text": "x"}]))
    assert isinstance(found, Problem)
    assert '"audio" must be a string' in found.detail
    assert len(found.detail) < 200


def test_several_splits_and_chosen_rows_are_refused(tmp_path: Path) -> None:
    home = saved(tmp_path, rows())
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["saved"]}')
    with pytest.raises(DataError, match="holds several splits; name one: saved"):
        check_source(tmp_path)
    state = json.loads((home / "state.json").read_text())
    (home / "state.json").write_text(json.dumps({**state, "_indices_data_files": [{"filename": "i.arrow"}]}))
    with pytest.raises(DataError, match="flatten_indices"):
        check_source(home)
    folder = tmp_path / "parquet"
    folder.mkdir()
    parquet(folder, rows())
    assert len(read_entries(folder)) == 3
    parquet(folder, rows()).rename(folder / "test-00000-of-00001.parquet")
    parquet(folder, rows())
    with pytest.raises(DataError, match=r"several splits \(test, train\)"):
        check_source(folder)


@pytest.mark.parametrize("content", [b"", b"PAR1 no parquet at all", b"\0" * 100])
def test_damaged_files_are_refused(make: Make, tmp_path: Path, content: bytes) -> None:
    source = make(tmp_path, rows())
    file = source if source.is_file() else source / "data-00000-of-00001.arrow"
    file.write_bytes(content)
    with pytest.raises(DataError, match="cannot be read"):
        read_entries(source)


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl"])
def test_a_folder_of_audio_with_metadata(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.wav").write_bytes(wav(8_000))
    if name.endswith("csv"):
        (tmp_path / name).write_text('file_name,transcription\na.wav,"one, two"\n')
    else:
        (tmp_path / name).write_text('{"file_name": "a.wav", "transcription": "one, two"}\n')
    assert read_entries(tmp_path) == [
        Utterance(f"{name}:{2 if 'csv' in name else 1}", tmp_path / "a.wav", "one, two")
    ]
    (tmp_path / "metadata.csv").touch()
    (tmp_path / "metadata.jsonl").touch()
    with pytest.raises(DataError, match="name the one to read"):
        read_entries(tmp_path)
