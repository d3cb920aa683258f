"""Reader of Hugging Face data sets that hold their audio: Parquet files, and folders of `save_to_disk`.

It needs pyarrow, which the extra `train` brings. The audio stays in its file and is read when it is needed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from ssvd_asr.errors import DataError
from ssvd_asr.manifests.fields import KEYS, FieldReader, MalformedError, check_columns
from ssvd_asr.manifests.sources import Entry, without_repeats
from ssvd_asr.manifests.utterances import PackedAudio, Problem, Utterance

STATE_FILE = "state.json"  # of a folder of `save_to_disk`
SPLITS_FILE = "dataset_dict.json"  # of a folder with one such folder for each split
_SHARD = re.compile(r"(.+)-\d+-of-\d+\.parquet")
_ROWS_AT_A_TIME = 1000


def is_packed(source: Path) -> bool:
    """Return whether a path is a Parquet file, or a folder of them or of `save_to_disk`."""
    if source.is_dir():
        named = any((source / name).is_file() for name in (STATE_FILE, SPLITS_FILE))
        return named or next(source.glob("*.parquet"), None) is not None
    return source.name.lower().endswith(".parquet")


def read_packed(source: Path, *, needs_text: bool = True) -> Iterator[Entry]:
    """Yield one entry for each row, by the names of the fields that JSON manifests have too.

    Raises:
        DataError: the files are damaged or of several splits, or a column is unknown.
        ModuleNotFoundError: pyarrow is not installed.
    """
    import pyarrow as pa

    try:
        yield from without_repeats(_named_entries(source, needs_text))
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{source} cannot be read: {error}") from error


def packed_files(source: Path) -> list[Path]:
    """Return the files of a data set in their order. Raises DataError for several splits, or none."""
    if not source.is_dir():
        return [source]
    if (source / SPLITS_FILE).is_file():
        splits = sorted(path.parent.name for path in source.glob(f"*/{STATE_FILE}"))
        raise DataError(f"{source} holds several splits; name one: {', '.join(splits)} in this folder")
    if (source / STATE_FILE).is_file():
        return _saved_files(source)
    files = sorted(source.glob("*.parquet"))
    splits = sorted({match[1] if (match := _SHARD.fullmatch(path.name)) else path.stem for path in files})
    if len(splits) > 1:
        raise DataError(f"{source} holds several splits ({', '.join(splits)}); name the file of one")
    return files


def _saved_files(folder: Path) -> list[Path]:
    try:
        state = json.loads((folder / STATE_FILE).read_text(encoding="utf-8"))
        names = [str(each["filename"]) for each in state["_data_files"]]
        chosen = state.get("_indices_data_files")
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder / STATE_FILE} is not that of a saved data set: {error!r}") from error
    if chosen:
        raise DataError(f"{folder} is a choice of rows: call flatten_indices() before save_to_disk()")
    return [folder / Path(name).name for name in names]


def _named_entries(source: Path, needs_text: bool) -> Iterator[tuple[str, Entry]]:
    for file in packed_files(source):
        fields = FieldReader(file, needs_text)
        number = 0
        for group in range(_groups(file)):
            for row, values in enumerate(_rows(file, group)):
                number += 1
                yield _entry(file, group, row, f"{file.name}:{number}", values, fields)


def _entry(
    file: Path, group: int, row: int, name: str, values: dict[str, Any], fields: FieldReader
) -> tuple[str, Entry]:
    column = next((key for key in KEYS["audio"] if _is_packed_audio(values.get(key))), None)
    inside = None
    if column is not None:
        inside = PackedAudio(file, group, row, column)
        values[column] = str(inside) if values[column]["packed"] else values[column]["path"]
        inside = inside if values[column] == str(inside) else None
        values = {key: value for key, value in values.items() if key == column or key not in KEYS["audio"]}
    try:
        found = fields.read(values, name)
    except MalformedError as error:
        return name, Problem(name, str(inside or file), "malformed entry", str(error))
    if inside is not None and isinstance(found, Utterance):
        found = replace(found, audio=inside)
    return name, found


def _is_packed_audio(value: object) -> bool:
    return isinstance(value, Mapping) and value.keys() == {"path", "packed"}


def _rows(file: Path, group: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of a group; audio has {"path", "packed"}: its name, and whether its bytes are there."""
    import pyarrow as pa
    import pyarrow.compute as pc

    table = _table(file, group)
    check_columns(file, table.column_names)
    columns: dict[str, Any] = {}
    for name in table.column_names:
        column = table[name]
        if pa.types.is_struct(column.type) and {"bytes", "path"} <= {field.name for field in column.type}:
            packed = pc.is_valid(pc.struct_field(column, "bytes"))
            column = pa.chunked_array(
                [
                    pa.StructArray.from_arrays([paths, flags], ["path", "packed"])
                    for paths, flags in zip(
                        pc.struct_field(column, "path").chunks, packed.chunks, strict=True
                    )
                ]
            )
        columns[name] = column
    for batch in pa.table(columns).to_batches(_ROWS_AT_A_TIME):
        yield from batch.to_pylist()


def _groups(file: Path) -> int:
    """Return how many parts of a file are read one after the other."""
    if file.suffix.lower() != ".parquet":
        return 1
    import pyarrow.parquet as pq

    return int(pq.ParquetFile(file).metadata.num_row_groups)


@lru_cache(maxsize=4)
def _table(file: Path, group: int) -> Any:
    """Return a part of a file as a table. That of an Arrow file stays on the disk."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if file.suffix.lower() == ".parquet":
        return pq.ParquetFile(file).read_row_group(group)
    return pa.ipc.open_stream(pa.memory_map(str(file))).read_all()


def packed_bytes(audio: PackedAudio) -> bytes:
    """Return the encoded audio of a row. Raises OSError if its file has changed."""
    found = _table(audio.file, audio.group)[audio.column][audio.row]["bytes"].as_py()
    if not isinstance(found, bytes):
        raise OSError(f"{audio} holds no bytes")
    return found
