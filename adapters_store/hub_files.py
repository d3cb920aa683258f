"""Files of a store in a repository of the Hugging Face hub, which is only read.

huggingface_hub finds token and endpoint: HF_TOKEN, HF_ENDPOINT.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from adapters_store.storage import MAX_DOCUMENT_BYTES
from ssvd_asr.errors import AdapterError, SsvdError, StoreError, StoreRefusedError, StoreUnreachableError


class HubFiles:
    """See `Remote`. `hf://owner/repository[@revision][/folder]`; nothing is asked before the first call."""

    def __init__(self, url: str) -> None:
        from huggingface_hub import HfFileSystem

        self._root = url.removeprefix("hf://").strip("/")
        self.where = f"hf://{self._root}"
        if "/" not in self._root:
            raise StoreError(f"{url}: a repository is wanted, as hf://owner/repository (SSVD_STORE)")
        self._files = HfFileSystem(skip_instance_cache=True, use_listings_cache=False)

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

    def now(self, _path: str) -> tuple[str, bytes] | None:
        """Refuse, as every writer is refused."""
        raise self._only_read()

    def put(self, _path: str, _data: bytes, _tag: str | None) -> str:
        """Refuse."""
        raise self._only_read()

    def add(self, _path: str, _file: Path) -> None:
        """Refuse."""
        raise self._only_read()

    def fetch(self, path: str, size_bytes: int, target: Path) -> None:
        """See Remote."""
        with self._asking():
            try:
                found = self._files.size(self._path(path))
                if found != size_bytes:
                    raise AdapterError(f"it has {found} bytes, not {size_bytes}")
                self._files.get_file(self._path(path), str(target))
            except FileNotFoundError:
                raise AdapterError("it is gone") from None

    def _only_read(self) -> StoreRefusedError:
        return StoreRefusedError(
            f"store {self.where} is only read; publish to a folder and upload that, or use s3://",
            code="store_only_read",
        )

    def _path(self, path: str) -> str:
        return f"{self._root}/{path}".rstrip("/")

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Turn what huggingface_hub and the libraries below it raise into our errors."""
        try:
            yield
        except SsvdError:
            raise
        except FileNotFoundError as error:
            raise StoreError(f"store {self.where} is not there: {error}") from error
        except Exception as error:
            raise StoreUnreachableError(
                f"store {self.where} does not answer: {type(error).__name__}: {error}"
            ) from error
