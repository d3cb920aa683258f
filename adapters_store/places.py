"""Places of a store: a folder of this machine, a bucket of S3, or a repository of the Hugging Face hub."""

from __future__ import annotations

import os
from pathlib import Path

from adapters_store.remote_storage import Elsewhere, RemoteStorage
from adapters_store.storage import STORE_VARIABLE, FolderStorage, Storage
from ssvd_asr.errors import StoreError

KINDS = "a folder, s3://bucket/prefix or hf://owner/repository"


def place_of(text: str) -> Path | str:
    """Return an argument as a place: a URL as it is, anything else as a path."""
    return text if "://" in text else Path(text)


def open_storage(place: Path | str, elsewhere: Elsewhere) -> Storage:
    """Return the storage at a place. Nothing is asked of it yet.

    Raises:
        StoreError: a URL of an unknown kind.
        ModuleNotFoundError: the extra that the place needs is not installed.
    """
    text = os.fspath(place)
    kind, colon, _ = text.partition("://")
    if not colon:
        return FolderStorage(Path(text))
    if kind == "s3":
        from adapters_store.s3 import S3

        return RemoteStorage(S3(text), elsewhere)
    if kind == "hf":
        from adapters_store.hub_files import HubFiles

        return RemoteStorage(HubFiles(text), elsewhere)
    raise StoreError(f"a store at {kind}:// is not known: it is {KINDS} ({STORE_VARIABLE})")
