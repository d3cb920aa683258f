"""Files of a store in a repository of the Hugging Face hub. A change is a commit on the latest one.

The tag of a file is its blob id, so that commits of other files leave it as it is.
huggingface_hub finds token and endpoint: HF_TOKEN, HF_ENDPOINT.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from adapters_store.remote_storage import ChangedMeanwhileError, FilesElsewhere
from adapters_store.storage import MAX_DOCUMENT_BYTES
from ssvd_asr.errors import StoreError

_CHANGED, _REFUSED = (409, 412), (401, 403, 404)  # statuses


class HubFiles(FilesElsewhere):
    """See `Remote`. `hf://owner/repository[@branch][/folder]`; nothing is asked before the first call."""

    def __init__(self, url: str) -> None:
        from huggingface_hub import HfApi, HfFileSystem

        self._root = url.removeprefix("hf://").strip("/")
        self.where = f"hf://{self._root}"
        if "/" not in self._root:
            raise StoreError(f"{url}: a repository is wanted, as hf://owner/repository (SSVD_STORE)")
        owner, name, *folders = self._root.split("/")
        name, _, branch = name.partition("@")
        self._repository, self._branch, self._folder = f"{owner}/{name}", branch or None, "/".join(folders)
        self._files = HfFileSystem(skip_instance_cache=True, use_listings_cache=False)
        self._api = HfApi()

    def tags(self, folder: str) -> dict[str, str]:
        """See Remote."""
        with self._asking():
            try:
                entries = self._files.ls(self._path(folder), detail=True, refresh=True)
            except FileNotFoundError:
                if folder:
                    return {}
                raise
        files: list[dict[str, Any]] = [each for each in entries if isinstance(each, dict)]
        return {
            each["name"].rpartition("/")[2]: str(each["blob_id"])
            for each in files
            if each["type"] == "file" and each["size"] <= MAX_DOCUMENT_BYTES
        }

    def read(self, paths: Iterable[str]) -> dict[str, bytes]:
        """See Remote."""
        with self._asking():
            return {path: bytes(self._files.cat_file(self._path(path))) for path in paths}

    def now(self, path: str) -> tuple[str, bytes] | None:
        """See Remote."""
        with self._asking():
            data = self._at(self._head(), path)
        return None if data is None else (_blob_id(data), data)

    def put(self, path: str, data: bytes, tag: str | None) -> str:
        """See Remote. The file is compared in the latest commit, and changed by a commit on that one.

        Raises ChangedMeanwhileError also if another file was committed between the two.
        """
        from huggingface_hub.errors import HfHubHTTPError

        with self._asking():
            head = self._head()
            there = self._at(head, path)
            if tag != (None if there is None else _blob_id(there)):
                raise ChangedMeanwhileError
            try:
                self._commit(path, data, head)
            except HfHubHTTPError as error:
                if error.response is not None and error.response.status_code in _CHANGED:
                    raise ChangedMeanwhileError from error
                raise
        return _blob_id(data)

    def add(self, path: str, file: Path) -> None:
        """See Remote."""
        with self._asking():
            if not self._files.exists(self._path(path)):
                self._commit(path, str(file), None)

    def _head(self) -> str:
        """Return the latest commit of the branch."""
        return str(self._api.model_info(self._repository, revision=self._branch).sha)

    def _at(self, commit: str, path: str) -> bytes | None:
        """Return the content of a file in a commit; None if it has none."""
        try:
            return bytes(self._files.cat_file(f"{self._repository}@{commit}/{self._inner(path)}"))
        except FileNotFoundError:
            return None

    def _commit(self, path: str, content: bytes | str, parent: str | None) -> None:
        from huggingface_hub import CommitOperationAdd

        self._api.create_commit(
            self._repository,
            [CommitOperationAdd(self._inner(path), content)],
            commit_message=path,
            revision=self._branch,
            parent_commit=parent,
        )

    def _inner(self, path: str) -> str:
        return f"{self._folder}/{path}" if self._folder else path

    def _refusal(self, error: Exception) -> str | None:
        """See FilesElsewhere."""
        if isinstance(error, FileNotFoundError):
            return f" is not there: {error}"
        if getattr(getattr(error, "response", None), "status_code", None) in _REFUSED:
            reason = str(error).strip().partition("\n")[0]
            return f": the hub refuses: {reason}"
        return None


def _blob_id(data: bytes) -> str:
    """Return the id that Git gives a file's content, which `tags` tells too."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
