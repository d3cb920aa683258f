"""Summaries of voices (ssvd_asr/adapter/voices.py): of a version, and of a base, by digest.

An adapter that was trained with a summary carries it. For others, and for bases, a file stands beside:

    <root>/voices/<sha256>.json        written by `ssvd adapters describe`
    <builtin>/voices/<sha256>.json     of what ships with the package
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from adapters_store.disk import files_in, make_folder, read_file, write_file
from adapters_store.versions import Version
from ssvd_asr.adapter.voices import VoiceSummary
from ssvd_asr.errors import StoreError

FOLDER = "voices"
_MAX_BYTES = 4 * 2**20
_DIGEST = re.compile(r"(?:sha256:)?([0-9a-f]{64})")


FileState = tuple[str, int, int]  # path, ctime in ns, size in bytes


class Voices:
    """The summaries that a store and the package hold."""

    def __init__(self, root: Path | None, packaged: Path) -> None:
        """`root` is the store's folder. A store elsewhere has none: summaries are in its adapters only."""
        self._own = None if root is None else root / FOLDER
        self.folders = (*(() if self._own is None else (self._own,)), packaged / FOLDER)

    def of_version(self, version: Version) -> VoiceSummary | None:
        """Return the summary of a version: the one written beside it, else the file's own, else None.

        Raises AdapterError or StoreError where one cannot be read.
        """
        return self.of_digest(version.sha256) or version.metadata.voices

    def written(self) -> dict[str, FileState]:
        """Return the states of all files by name, to tell whether a summary that was read still stands."""
        found: dict[str, FileState] = {}
        for folder in reversed(self.folders):
            for name, path in files_in(folder).items():
                with suppress(FileNotFoundError):  # removed meanwhile
                    status = path.stat()
                    found[name] = str(path), status.st_ctime_ns, status.st_size
        return found

    def of_digest(self, digest: str) -> VoiceSummary | None:
        """Return the summary written for a base's or a version's digest, or None. Raises as `of_version`."""
        for folder in self.folders:
            file = files_in(folder).get(file_name(digest))
            if file is not None:
                try:
                    return VoiceSummary.from_json(read_file(file, _MAX_BYTES))
                except OSError as error:
                    raise StoreError(f"{file} cannot be read: {error.strerror}") from error
        return None

    def write(self, digest: str, summary: VoiceSummary) -> Path:
        """Write the summary of a base or a version into the store, in place of an earlier one.

        Raises StoreError if the store is elsewhere, or cannot be written.
        """
        if self._own is None:
            raise StoreError(
                "summaries of voices are written only into a store in a folder; `ssvd train` writes one into "
                "the adapter itself"
            )
        return write_beside(self._own, digest, summary)


def write_beside(folder: Path, digest: str, summary: VoiceSummary) -> Path:
    """Write a summary into a folder of summaries. Raises StoreError if it cannot be written."""
    path = folder / file_name(digest)
    try:
        make_folder(folder)
        write_file(path, summary.model_dump_json(indent=1).encode() + b"\n")
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}") from error
    return path


def file_name(digest: str) -> str:
    """Return the name of the file for a digest. Raises StoreError for text that is none."""
    found = _DIGEST.fullmatch(digest)
    if found is None:
        raise StoreError(f"{digest[:100]!r} is no SHA-256")
    return f"{found[1]}.json"
