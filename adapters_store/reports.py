"""Reports on domains and versions as JSON values, which commands print with --json and the server answers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from adapters_store.catalogue import Catalogue
from adapters_store.versions import Domain, Version
from ssvd_asr.errors import AdapterError, UnknownDomainError

Report = dict[str, Any]


def describe_domain(domain: Domain) -> Report:
    """Return a domain, with its active version's digest and summary."""
    return {
        "name": domain.name,
        "active": domain.active.version,
        "sha256": domain.active.sha256,
        "builtin": domain.active.builtin,
        "versions": [version.version for version in domain.versions],
        **_summary(domain.active),
    }


def describe_version(version: Version, *, active: bool) -> Report:
    """Return a version."""
    return {
        "name": version.name,
        "version": version.version,
        "sha256": version.sha256,
        "active": active,
        "builtin": version.builtin,
        "size_bytes": version.size_bytes,
        "published_at": version.published_at,
        **_summary(version),
    }


def describe_stored(store: Catalogue, version: Version) -> Report:
    """Return a version, and whether it is its domain's active one now. Raises as `Catalogue.get` does."""
    return describe_version(version, active=version == store.get(version.name).active)


def describe_store(store: Catalogue) -> Report:
    """Return every domain of a store and its aliases."""
    return {
        "store": store.where,
        "domains": [describe_domain(domain) for domain in store.list()],
        "aliases": store.list_aliases(),
    }


def describe_history(domain: Domain, shown: Iterable[Version]) -> Report:
    """Return a domain with some of its versions and its history."""
    return describe_domain(domain) | {
        "versions": [describe_version(version, active=version == domain.active) for version in shown],
        "pinned": list(domain.pinned),
        "events": [event.model_dump() for event in domain.events],
    }


def describe_removal(store: Catalogue, name: str, removed: Iterable[Version]) -> Report:
    """Return what was removed of a domain, and the version that answers now, null if none does."""
    try:
        active: int | None = store.get(name).active.version
    except UnknownDomainError:
        active = None
    return {"name": name, "removed": [version.version for version in removed], "active": active}


def describe_pin(version: Version, *, pinned: bool) -> Report:
    """Return whether a version is pinned."""
    return {"name": version.name, "version": version.version, "sha256": version.sha256, "pinned": pinned}


def describe_alias(alias: str, stands_for: str | None) -> Report:
    """Return what an alias stands for; null: it is removed."""
    return {"alias": alias, "stands_for": stands_for}


def describe_difference(one: Version, other: Version) -> Report:
    """Return where the metadata of two versions of a domain differ: field, value before, value after."""
    before, after = _flat(one), _flat(other)
    changed = {
        field: [before.get(field), after.get(field)]
        for field in sorted(before.keys() | after.keys())
        if before.get(field) != after.get(field)
    }
    return {"name": one.name, "from": one.version, "to": other.version, "changed": changed}


def _summary(version: Version) -> Report:
    """Return the file's metadata, with its layers only counted, or why it cannot be read."""
    try:
        metadata = version.metadata
    except AdapterError as error:
        return {"error": str(error)}
    ks = metadata.ks.values()
    return {
        "base_name": metadata.base_name,
        "base_digest": metadata.base_digest,
        "method": metadata.method,
        "rotation_map": metadata.rotation_map,
        "p": metadata.p,
        "layers": len(ks),
        "k_min": min(ks),
        "k_max": max(ks),
        "training": metadata.training,
        "created_with": metadata.created_with,
    }


def _flat(version: Version) -> Report:
    """Return what a version's file says as one level, with dots in the names of inner fields."""
    outer = {"sha256": version.sha256, "size_bytes": version.size_bytes, **_summary(version)}
    if "error" not in outer:
        outer["k"] = dict(version.metadata.ks)
    flat: Report = {}

    def lay(prefix: str, value: object) -> None:
        if isinstance(value, dict) and value:
            for name, inner in value.items():
                lay(f"{prefix}.{name}" if prefix else str(name), inner)
        else:
            flat[prefix] = value

    lay("", outer)
    return flat
