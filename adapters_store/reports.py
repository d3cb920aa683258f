"""Reports on domains and versions, as JSON and as tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from adapters_store.versions import Domain, Version
from ssvd_asr.errors import AdapterError

DATA = ("test", "valid")  # on which `ssvd train` scores
WER_COLUMNS = ("WER before", "after", "measured on")


def describe_domain(domain: Domain) -> dict[str, Any]:
    """Return a domain as JSON values, with its active version's digest and summary."""
    return {
        "name": domain.name,
        "active": domain.active.version,
        "sha256": domain.active.sha256,
        "builtin": domain.active.builtin,
        "versions": [version.version for version in domain.versions],
        **_summary(domain.active),
    }


def describe_version(version: Version, *, active: bool) -> dict[str, Any]:
    """Return a version as JSON values."""
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


def domain_table(domains: Iterable[Domain]) -> str:
    """Return a table with one line for each domain.

    The error rates before and after are of the same data. Those of two domains are of different data.
    """
    rows: list[tuple[str, ...]] = [("domain", "active", "sha256", "versions", "base", *WER_COLUMNS)]
    for domain in domains:
        summary = _summary(domain.active)
        rows.append(
            (
                domain.name,
                f"{domain.active.version}{' built-in' if domain.active.builtin else ''}",
                domain.active.sha256[:12],
                ",".join(str(version.version) for version in domain.versions),
                *_base_and_wer(summary),
            )
        )
    return _aligned(rows)


def version_table(domain: Domain, versions: Iterable[Version]) -> str:
    """Return a table with one line for each version, then one line for each event of the domain."""
    rows: list[tuple[str, ...]] = [("version", "sha256", "kB", "published", "base", *WER_COLUMNS)]
    for version in versions:
        star = "*" if version == domain.active else ""
        published = "built-in" if version.builtin else str(version.published_at)
        size = f"{version.size_bytes / 1000:.0f}"
        row = (f"{version.version}{star}", version.sha256[:12], size, published)
        rows.append((*row, *_base_and_wer(_summary(version))))
    events = [f"{event.at}  {event.action} {event.version}" for event in domain.events]
    return "\n".join([f"{domain.name} (* is active)", _aligned(rows), *events])


def _summary(version: Version) -> dict[str, Any]:
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


def _base_and_wer(summary: dict[str, Any]) -> tuple[str, ...]:
    if "error" in summary:
        return ("DAMAGED: " + str(summary["error"]), "", "", "")
    training = summary["training"]
    return (
        str(summary["base_name"]),
        _percent(training.get("wer_before")),
        _percent(training.get("wer_after")),
        _scored_on(training) if "wer_after" in training else "-",
    )


def _scored_on(training: dict[str, Any]) -> str:
    """Return the data of the error rates, as "600 test utterances", if the file says it."""
    what, many = training.get("evaluated_on"), training.get("evaluated_utterances")
    known = what in DATA and isinstance(many, int)
    return f"{many} {what} utterances" if known else "unnamed data"


def _percent(ratio: object) -> str:
    return f"{100 * ratio:.1f} %" if isinstance(ratio, int | float) else "-"


def _aligned(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
