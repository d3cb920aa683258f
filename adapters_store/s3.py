"""Files of a store in a bucket of S3, or of a service with its protocol, by s3fs.

Credentials, region and endpoint are found as the tools of AWS do it: AWS_ACCESS_KEY_ID, AWS_PROFILE,
AWS_ENDPOINT_URL and so on.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from adapters_store.remote_storage import ChangedMeanwhileError, FilesElsewhere
from adapters_store.storage import MAX_DOCUMENT_BYTES
from ssvd_asr.errors import StoreError

CONNECT_S, READ_S = 3.0, 10.0  # a request waits for the store at most so long
_CHANGED = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")
_REFUSED = ("AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch")
_NO_TAG = '"00000000000000000000000000000000"'  # of no file
_PROBE = ".conditional"


class S3(FilesElsewhere):
    """See `Remote`. Nothing is asked of the service before the first call.

    Raises ModuleNotFoundError if the extra `s3` is not installed.
    """

    def __init__(self, url: str) -> None:
        from s3fs import S3FileSystem

        self._root = url.removeprefix("s3://").strip("/")
        self.where = f"s3://{self._root}"
        if not self._root:
            raise StoreError(f"{url}: a bucket is wanted, as s3://bucket/prefix (SSVD_STORE)")
        # No attempt twice: it may have succeeded, and a condition would then find its own work in the way.
        config = {
            "connect_timeout": CONNECT_S,
            "read_timeout": READ_S,
            "retries": {"total_max_attempts": 1, "mode": "standard"},
        }
        self._files = S3FileSystem(skip_instance_cache=True, use_listings_cache=False, config_kwargs=config)
        self._files.retries = 1
        self._keeps_conditions = False  # until it is found out

    def tags(self, folder: str) -> dict[str, str]:
        """See Remote."""
        with self._asking():
            try:
                entries = self._files.ls(self._path(folder), detail=True, refresh=True)
            except FileNotFoundError:
                bucket = self._root.partition("/")[0]
                if not self._files.exists(bucket):
                    raise StoreError(f"store {self.where}: there is no bucket {bucket!r}") from None
                return {}
        return {
            entry["name"].rpartition("/")[2]: entry["ETag"]
            for entry in entries
            if entry["type"] == "file" and entry["size"] <= MAX_DOCUMENT_BYTES
        }

    def read(self, paths: Iterable[str]) -> dict[str, bytes]:
        """See Remote."""
        wanted = {self._path(path): path for path in paths}
        if not wanted:
            return {}
        with self._asking():
            found: dict[str, Any] = self._files.cat(list(wanted), on_error="return")
            for content in found.values():
                if isinstance(content, Exception) and not isinstance(content, FileNotFoundError):
                    raise content
        return {wanted[place]: data for place, data in found.items() if isinstance(data, bytes)}

    def now(self, path: str) -> tuple[str, bytes] | None:
        """See Remote."""
        with self._asking():
            try:
                entry = self._files.info(self._path(path), refresh=True)
                return entry["ETag"], self._files.cat_file(self._path(path))
            except FileNotFoundError:
                return None

    def put(self, path: str, data: bytes, tag: str | None) -> str:
        """See Remote."""
        self._check_conditions()
        written = self._put(path, data, **({"IfNoneMatch": "*"} if tag is None else {"IfMatch": tag}))
        return str(written["ETag"])

    def add(self, path: str, file: Path) -> None:
        """See Remote. A file appears there whole or not at all."""
        with self._asking():
            place = self._path(path)
            try:
                found = self._files.size(place)
            except FileNotFoundError:
                found = None
            if found != file.stat().st_size:
                self._files.put_file(str(file), place)

    def _check_conditions(self) -> None:
        """Raise StoreError if the service ignores conditions: then changes could be lost."""
        if self._keeps_conditions:
            return
        with suppress(ChangedMeanwhileError):  # it is there
            self._put(_PROBE, b"", IfNoneMatch="*")
        try:
            self._put(_PROBE, b"", IfMatch=_NO_TAG)
        except ChangedMeanwhileError:
            self._keeps_conditions = True
            return
        raise StoreError(
            f"store {self.where}: the service ignores If-Match, by which changes of two writers are kept "
            "apart; nothing is written to it"
        )

    def _put(self, path: str, data: bytes, **condition: str) -> dict[str, Any]:
        with self._asking():
            try:
                written: dict[str, Any] = self._files.pipe_file(self._path(path), data, **condition)
            except Exception as error:
                if _code(error) in _CHANGED:
                    raise ChangedMeanwhileError from error
                raise
        return written

    def _refusal(self, error: Exception) -> str | None:
        """See FilesElsewhere."""
        if _code(error) in _REFUSED or isinstance(error, PermissionError):
            return f": it refuses: {error}"
        if isinstance(error, FileNotFoundError):
            return f": {error}"
        return None


def _code(error: BaseException | None) -> str | None:
    """Return the service's code for an error, which s3fs keeps as a cause."""
    while error is not None:
        response = getattr(error, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code"))
        error = error.__cause__
    return None
