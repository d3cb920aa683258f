"""Removal: which versions of a domain go when one is named, or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from adapters_store.index import DomainIndex
from adapters_store.names import Reference, parse_reference
from adapters_store.versions import Version, pinned_by
from ssvd_asr.errors import StoreRefusedError


def removable(
    found: Version,
    wanted: Reference,
    index: DomainIndex,
    versions: Sequence[Version],
    aliases: Mapping[str, str],
) -> tuple[Version, ...]:
    """Return the versions that go: the one that is wanted, or all but the active, pinned and aliased ones.

    Args:
        found: the version that `wanted` means.
        versions: all of the domain.
        aliases: what each alias of the store stands for.

    Raises:
        StoreRefusedError: the version is built in, pinned or what an alias stands for, or there is none to
            remove.
    """
    aliased = _aliased(index.name, versions, aliases)
    if wanted.version is not None:
        doomed: tuple[Version, ...] = (found,)
    else:
        kept = {index.active, *index.pinned, *aliased}
        doomed = tuple(each for each in versions if not each.builtin and each.version not in kept)
    if found.builtin and (wanted.version is not None or not doomed):
        raise StoreRefusedError(f"{found.reference} is built in and cannot be removed", code="built_in")
    if wanted.version in index.pinned:
        raise StoreRefusedError(
            f"{found.reference} is pinned: unpin it before it is removed", code="version_pinned"
        )
    if wanted.version in aliased:
        alias = aliased[wanted.version]
        raise StoreRefusedError(
            f"{found.reference} is what the alias {alias!r} stands for: remove the alias first",
            code="version_aliased",
        )
    if not doomed:
        held = {*index.pinned, *aliased} - {index.active}
        others = "the others are pinned or have an alias" if held else "the only version"
        raise StoreRefusedError(
            f"{found.reference} is active and {others}; name its number to remove it",
            code="nothing_to_remove",
        )
    return doomed


def _aliased(name: str, versions: Sequence[Version], aliases: Mapping[str, str]) -> dict[int, str]:
    """Return the versions of a domain that an alias stands for, each with such an alias."""
    found: dict[int, str] = {}
    for alias, text in aliases.items():
        meant = parse_reference(text)
        if meant.name == name and meant.pinned:
            found |= {each.version: alias for each in pinned_by(meant, versions)}
    return found
