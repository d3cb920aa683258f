"""Removal: which versions of a domain go when one is named, or none."""

from __future__ import annotations

from collections.abc import Sequence

from adapters_store.index import DomainIndex
from adapters_store.names import Reference
from adapters_store.versions import Version
from ssvd_asr.errors import StoreRefusedError


def removable(
    found: Version, wanted: Reference, index: DomainIndex, versions: Sequence[Version]
) -> tuple[Version, ...]:
    """Return the versions that go: the one that is wanted, or all but the active and the pinned ones.

    Args:
        found: the version that `wanted` means.
        versions: all of the domain.

    Raises:
        StoreRefusedError: the version is built in or pinned, or there is none to remove.
    """
    if wanted.version is not None:
        doomed: tuple[Version, ...] = (found,)
    else:
        kept = {index.active, *index.pinned}
        doomed = tuple(each for each in versions if not each.builtin and each.version not in kept)
    if found.builtin and (wanted.version is not None or not doomed):
        raise StoreRefusedError(f"{found.reference} is built in and cannot be removed", code="built_in")
    if wanted.version in index.pinned:
        raise StoreRefusedError(
            f"{found.reference} is pinned: unpin it before it is removed", code="version_pinned"
        )
    if not doomed:
        others = "the others are pinned" if index.pinned else "the only version"
        raise StoreRefusedError(
            f"{found.reference} is active and {others}; name its number to remove it",
            code="nothing_to_remove",
        )
    return doomed
