"""Actions of `ssvd adapters` on a store: each does what its arguments say and returns a report."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from adapters_store.intent import check_active_is_meant, check_not_over_builtin, check_own_name
from adapters_store.names import Reference, check_name, parse_reference
from adapters_store.reports import (
    Report,
    describe_alias,
    describe_difference,
    describe_history,
    describe_pin,
    describe_removal,
    describe_store,
    describe_stored,
    describe_version,
)
from adapters_store.store import AdapterStore
from ssvd_asr.errors import AdapterError, StoreError

if TYPE_CHECKING:
    from ssvd_asr.base.model import BaseModel

ORIGIN_FILE = "merged-from.json"  # beside a merged checkpoint: digests of what it is made of

Action = Callable[[AdapterStore, argparse.Namespace], Report]


def list_all(store: AdapterStore, _: argparse.Namespace) -> Report:
    """Describe every domain."""
    return describe_store(store)


def show(store: AdapterStore, arguments: argparse.Namespace) -> Report:
    """Describe a domain, or one version."""
    found = store.resolve(arguments.domain)  # an alias too
    domain = store.get(found.name)
    pinned = parse_reference(arguments.domain).pinned
    return describe_history(domain, (found,) if pinned else domain.versions)


def publish(store: AdapterStore, arguments: argparse.Namespace) -> Report:
    """Check an adapter file against its base and add it."""
    # Check the header first: that takes milliseconds, while loading a model takes seconds.
    from ssvd_asr.adapter.read import inspect_adapter

    try:
        metadata = inspect_adapter(arguments.file)
    except AdapterError as error:
        named = str(arguments.file) in str(error)
        raise AdapterError(str(error) if named else f"{arguments.file}: {error}") from error
    check_name(arguments.name)
    check_own_name(metadata, arguments.name, arguments.own_name)
    if arguments.activate:
        check_not_over_builtin(store, arguments.name, arguments.over)
    from adapters_store.publish_check import publish_check

    version = store.publish(
        arguments.name,
        arguments.file,
        check=publish_check(base_of(arguments)),
        activate=arguments.activate,
    )
    return describe_stored(store, version)


def rollback(store: AdapterStore, arguments: argparse.Namespace) -> Report:
    """Make the version active that was so before."""
    return describe_version(store.rollback(arguments.name), active=True)


def activate(store: AdapterStore, arguments: argparse.Namespace) -> Report:
    """Make a version active."""
    wanted = pinned(arguments.version)
    version = store.activate(wanted.name, store.resolve(arguments.version).version)
    return describe_version(version, active=True)


def remove(store: AdapterStore, arguments: argparse.Namespace) -> Report:
    """Remove one version, or all but the active, the pinned and the aliased ones."""
    wanted = parse_reference(arguments.domain)
    number = store.resolve(arguments.domain).version if wanted.pinned else None
    check_active_is_meant(store, wanted.name, number, force=arguments.force)
    removed = store.remove(wanted.name, number, keep_active=not arguments.force)
    return describe_removal(store, wanted.name, removed)


def alias(store: AdapterStore, arguments: argparse.Namespace) -> Report:
    """Let a name stand for a domain or a version, or no longer."""
    if arguments.stands_for is None:
        store.remove_alias(arguments.alias)
    else:
        store.set_alias(arguments.alias, arguments.stands_for)
    return describe_alias(arguments.alias, arguments.stands_for)


def pin(store: AdapterStore, arguments: argparse.Namespace) -> Report:
    """Keep a version from being removed, or let it be removed again."""
    wanted = pinned(arguments.version)
    number = store.resolve(arguments.version).version
    return describe_pin(store.pin(wanted.name, number, pinned=arguments.pinned), pinned=arguments.pinned)


def download(store: AdapterStore, arguments: argparse.Namespace) -> Report:
    """Copy a version's file."""
    version = store.resolve(arguments.domain)
    return describe_stored(store, version) | {
        "file": str(write_new(arguments.out, version.name, version.version, version.read_bytes()))
    }


def diff(store: AdapterStore, arguments: argparse.Namespace) -> Report:
    """Compare the metadata of two versions."""
    one, other = (store.resolve(f"{arguments.name}@{each}") for each in (arguments.one, arguments.other))
    return describe_difference(one, other)


def merge(store: AdapterStore, arguments: argparse.Namespace) -> Report:
    """Write base and adapter as one checkpoint."""
    out: Path = arguments.out
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise StoreError(f"--out {out} is there already and not an empty folder")
    file = Path(arguments.adapter)
    source: Path | bytes = file if file.is_file() else store.resolve(arguments.adapter).read_bytes()
    from ssvd_asr.adapter.merge import is_whole, with_weights

    base = base_of(arguments)
    origin: dict[str, str | None]
    if isinstance(source, Path) and is_whole(source):
        merged, sha256 = with_weights(base, source)
        origin = {"adapter_sha256": None, "weights_sha256": sha256}
    else:
        merged, sha256 = _with_adapter(base, source)
        origin = {"adapter_sha256": sha256, "weights_sha256": None}
    config, checkpoint = merged.export(out)
    told = {"digest": merged.digest, "base": base.name, "base_digest": base.digest, **origin}
    (out / ORIGIN_FILE).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return {"config": str(config), "checkpoint": str(checkpoint), **told}


def write_new(out: Path | None, name: str, version: int, data: bytes) -> Path:
    """Write a version's file to a path, or to one named after it. Raises StoreError if it is there."""
    path = out if out is not None else Path(f"{name}-{version}.safetensors")
    try:
        with path.open("xb") as file:
            file.write(data)
    except FileExistsError:
        raise StoreError(f"--out {path} is there already") from None
    except OSError as error:
        raise StoreError(f"--out {path}: {error.strerror}") from error
    return path


def pinned(text: str) -> Reference:
    """Read a reference that has to name a version. Raises StoreError if it names none."""
    wanted = parse_reference(text)
    if not wanted.pinned:
        raise StoreError(f"{text!r} names no version: {text}@NUMBER or {text}@sha256:DIGITS is wanted")
    return wanted


def base_of(arguments: argparse.Namespace) -> BaseModel:
    """Load the base on the CPU in float32, where the canary is strict and the basis is computed."""
    from ssvd_asr.base.load import load_base

    return load_base(
        arguments.base,
        device="cpu",
        dtype="float32",
        config=arguments.config,
        checkpoint=arguments.checkpoint,
    )


def _with_adapter(base: BaseModel, source: Path | bytes) -> tuple[BaseModel, str]:
    from ssvd_asr.adapter.merge import merge_adapter
    from ssvd_asr.adapter.read import load_adapter
    from ssvd_asr.basis.cache import factorize

    load_adapter(source, base)  # refuses a wrong file before factorising, which takes seconds
    factors = factorize(base, progress=False)
    loaded = load_adapter(source, base, factors)
    return merge_adapter(base, loaded, factors), loaded.sha256
