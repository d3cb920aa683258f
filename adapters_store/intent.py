"""Words that say a risky change is meant: another name for an adapter, a built-in, the active version.

Each word is checked before a model is loaded. The library's own calls (`AdapterStore`) take no words.
"""

from __future__ import annotations

from adapters_store.catalogue import Catalogue
from adapters_store.names import Reference
from ssvd_asr.adapter.metadata import AdapterMetadata
from ssvd_asr.errors import StoreError, UnknownDomainError


def check_own_name(metadata: AdapterMetadata, name: str, said: str | None) -> None:
    """Raise StoreError if an adapter that was trained as another domain gets this name without `--as`."""
    trained = metadata.training.get("domain")
    if said not in (None, name):
        raise StoreError(f"--as {said} and the name {name} differ: which is meant?")
    if isinstance(trained, str) and trained != name and said is None:
        raise StoreError(f"the adapter was trained as {trained!r}: --as {name} publishes it under that name")


def check_not_over_builtin(store: Catalogue, name: str, said: str | None) -> None:
    """Raise StoreError if a new version would answer in place of a built-in one without `--over`."""
    if said not in (None, name):
        raise StoreError(f"--over {said} and the name {name} differ: which is meant?")
    try:
        active = store.get(name).active
    except UnknownDomainError:
        return
    if active.builtin and said is None:
        raise StoreError(
            f"{name!r} is built in, and the new version would answer in its place: --over {name} means that"
        )


def check_active_is_meant(store: Catalogue, wanted: Reference, number: int | None, *, force: bool) -> None:
    """Raise StoreError, saying what would answer, if the active version goes without `--force`."""
    active = store.get(wanted.name).active
    if number != active.version or active.builtin or force:
        return
    heir = store.heir(wanted.name, active.version)
    then = f"{heir.reference} would answer for it" if heir else f"{wanted.name!r} would be unknown"
    raise StoreError(f"{active.reference} is active; without it {then}: --force means that")
