"""Adapters that ship with the package: read only, each version 1 of its name.

<folder>/<name>/adapter.safetensors
<folder>/<name>/index.json            {"format": 1, "name", "sha256", "size_bytes"}
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel as _Model
from pydantic import ConfigDict, Field, ValidationError

from adapters_store.disk import commit, files_in, make_folder, read_file, staged_copy, write_file
from adapters_store.index import BUILTIN_VERSION, FORMAT, Sha256
from adapters_store.names import check_name, is_name
from adapters_store.versions import Version
from ssvd_asr.errors import StoreError

PACKAGED = Path(__file__).with_name("builtin")

_ADAPTER = "adapter.safetensors"
_INDEX = "index.json"
_MAX_INDEX_BYTES = 10_000
_MAX_ADAPTER_BYTES = 64 * 2**20


class _BuiltinIndex(_Model):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal[1] = FORMAT
    name: str
    sha256: Sha256
    size_bytes: int = Field(ge=1)


def builtins(folder: Path) -> dict[str, Version]:
    """Return the built-in versions by name.

    Raises:
        StoreError: the installation is damaged: an index, or its adapter is missing.
    """
    found = {}
    for name in sorted(os.listdir(folder) if folder.is_dir() else []):
        if is_name(name) and _INDEX in (files := files_in(folder / name)):
            found[name] = _read(name, files)
    return found


def write_builtin(folder: Path, name: str, file: Path) -> Version:
    """Make a file the built-in adapter of a name. For building the package, not for serving.

    Raises:
        StoreError: the name is not allowed, or the file cannot be copied.
        OSError: the folder cannot be written.
    """
    home = folder / check_name(name)
    make_folder(home)
    with staged_copy(file, home, _MAX_ADAPTER_BYTES) as staged:
        index = _BuiltinIndex(name=name, sha256=staged.sha256, size_bytes=staged.size_bytes)
        os.chmod(staged.path, 0o644)  # git keeps no read-only files
        commit(staged, home / _ADAPTER)
    write_file(home / _INDEX, index.model_dump_json(indent=1).encode() + b"\n")
    return _read(name, files_in(home))


def _read(name: str, files: dict[str, Path]) -> Version:
    try:
        index = _BuiltinIndex.model_validate_json(read_file(files[_INDEX], _MAX_INDEX_BYTES))
    except (ValidationError, OSError) as error:
        raise StoreError(f"built-in domain {name!r}: {files[_INDEX]} is damaged: {error}") from error
    if index.name != name or _ADAPTER not in files:
        raise StoreError(f"built-in domain {name!r}: {files[_INDEX]} or its adapter is missing or another's")
    return Version(
        name=name,
        version=BUILTIN_VERSION,
        sha256=index.sha256,
        size_bytes=index.size_bytes,
        path=files[_ADAPTER],
        builtin=True,
        published_at=None,
    )
