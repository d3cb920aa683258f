"""Adapters on the Hugging Face hub: a repository with one version's file and a card made of its metadata.

    adapter.safetensors
    README.md               the card

huggingface_hub finds token and endpoint: HF_TOKEN, HF_ENDPOINT.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from pathlib import Path

from adapters_store import actions
from adapters_store.reports import Report, describe_stored
from adapters_store.store import AdapterStore
from adapters_store.versions import Version
from ssvd_asr.errors import SsvdError, StoreError
from ssvd_asr.version import __version__

FILE, CARD = "adapter.safetensors", "README.md"
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_TASK = "automatic-speech-recognition"


def push(store: AdapterStore, arguments: argparse.Namespace) -> Report:
    """Write a version and its card to a repository, which is made if it is not there."""
    from huggingface_hub import CommitOperationAdd, HfApi

    repository = _checked(arguments.repository)
    version = store.resolve(arguments.name)
    data, card = version.read_bytes(), card_of(version, repository)
    message = f"{version.reference} sha256:{version.sha256}"

    def write() -> str:
        api = HfApi(library_name="ssvd-asr", library_version=__version__)
        api.create_repo(repository, exist_ok=True, private=arguments.private or None)
        files = {FILE: data, CARD: card.encode()}
        done = api.create_commit(
            repository,
            [CommitOperationAdd(path, content) for path, content in files.items()],
            commit_message=message,
        )
        return str(done.commit_url)

    url = _with_hub(repository, write)
    return describe_stored(store, version) | {"url": url}


def pull(store: AdapterStore, arguments: argparse.Namespace) -> Report:
    """Publish the adapter of a repository, checked as any file is."""
    from huggingface_hub import hf_hub_download

    repository, _, revision = arguments.repository.partition("@")
    _checked(repository)

    def fetch() -> str:
        return hf_hub_download(repository, FILE, revision=revision or None)

    arguments.file = Path(_with_hub(repository, fetch))
    return actions.publish(store, arguments)


def card_of(version: Version, repository: str) -> str:
    """Return a version's model card: a head that the hub reads, and tables of what its file says."""
    from huggingface_hub import ModelCardData

    from ssvd_asr.base.hub import HUB_TAG

    metadata = version.metadata
    head = ModelCardData(
        library_name="ssvd-asr",
        pipeline_tag=_TASK,
        base_model=metadata.base_name if HUB_TAG.fullmatch(metadata.base_name) else None,
        tags=[_TASK, "adapter", metadata.method],
    )
    facts = {
        "domain": version.name,
        "base": metadata.base_name,
        "base digest": metadata.base_digest,
        "method": metadata.method,
        "rotation map": metadata.rotation_map,
        "adapted layers": len(metadata.ks),
        "directions of a layer": f"{min(metadata.ks.values())} to {max(metadata.ks.values())}",
        "file, SHA-256": version.sha256,
        "file, bytes": version.size_bytes,
        "made with": metadata.created_with,
    }
    return "\n".join(
        [
            f"---\n{head.to_yaml()}\n---\n",
            f"# {version.name}: an adapter of {_plain(metadata.base_name)} for speech recognition\n",
            "One domain's adapter for ssvd-asr, which serves many domains from one frozen model by "
            "[structured SVD](https://arxiv.org/abs/2509.02830).",
            "It is for its domain only: other speech is recognised worse with it.\n",
            f"    ssvd adapters pull {repository} {version.name}\n",
            *_table("fact", facts),
            "\n## Training\n",
            *_table("field", dict(metadata.training)),
            "",
        ]
    )


def _table(first: str, rows: dict[str, object]) -> list[str]:
    """Return lines of a Markdown table. What a file says stands in it as code."""
    lines = (f"| {_plain(name)} | `{_plain(value)}` |" for name, value in rows.items())
    return [f"| {first} | value |", "|---|---|", *lines]


def _plain(value: object) -> str:
    """Return a value without what means something in Markdown's tables and code."""
    text = value if isinstance(value, str) else json.dumps(value)
    return re.sub(r"[\s`|<>\[\]]+", " ", text)[:500].strip()


def _checked(repository: str) -> str:
    if not _REPOSITORY.fullmatch(repository):
        raise StoreError(f"{repository[:120]!r} is no repository of the hub, which is owner/name")
    return repository


def _with_hub(repository: str, call: Callable[[], str]) -> str:
    """Return what a call of huggingface_hub returns. Raises StoreError for all that it raises."""
    try:
        return call()
    except SsvdError:
        raise
    except Exception as error:  # its clients raise errors of several libraries
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise StoreError(f"{repository} on the hub: {reason}") from error
