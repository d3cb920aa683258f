"""Words that say a risky change is meant: another name for an adapter, a built-in, the active version.

Each word is checked before a model is loaded. The library's own calls (`AdapterStore`) take no words. A word
is an option of the command line, `--as child`, or a field of a request, `as=child`.
"""

from __future__ import annotations

from collections.abc import Callable

from adapters_store.catalogue import Catalogue
from ssvd_asr.adapter.metadata import AdapterMetadata
from ssvd_asr.errors import StoreRefusedError, UnknownDomainError

Say = Callable[[str, str], str]


def option(word: str, value: str) -> str:
    """Return a word as it is said on the command line."""
    return f"--{word} {value}".rstrip()


def field(word: str, value: str) -> str:
    """Return a word as it is said in a request."""
    return f"{word}={value or 'true'}"


def check_own_name(metadata: AdapterMetadata, name: str, said: str | None, say: Say = option) -> None:
    """Raise StoreRefusedError if an adapter trained as another domain gets this name without `--as`."""
    trained = metadata.training.get("domain")
    if said not in (None, name):
        raise _contradiction(say("as", said), name)
    if isinstance(trained, str) and trained != name and said is None:
        raise StoreRefusedError(
            f"the adapter was trained as {trained!r}: {say('as', name)} publishes it under that name",
            code="trained_as_another",
        )


def check_not_over_builtin(store: Catalogue, name: str, said: str | None, say: Say = option) -> None:
    """Raise StoreRefusedError if a new version would answer in place of a built-in one without `--over`."""
    if said not in (None, name):
        raise _contradiction(say("over", said), name)
    try:
        active = store.get(name).active
    except UnknownDomainError:
        return
    if active.builtin and said is None:
        raise StoreRefusedError(
            f"{name!r} is built in, and the new version would answer in its place: {say('over', name)} means "
            "that",
            code="over_built_in",
        )


def check_active_is_meant(
    store: Catalogue, name: str, number: int | None, *, force: bool, say: Say = option
) -> None:
    """Raise StoreRefusedError, saying what would answer, if the active version goes without `--force`."""
    active = store.get(name).active
    if number != active.version or active.builtin or force:
        return
    heir = store.heir(name, active.version)
    then = f"{heir.reference} would answer for it" if heir else f"{name!r} would be unknown"
    raise StoreRefusedError(
        f"{active.reference} is active; without it {then}: {say('force', '')} means that",
        code="version_active",
    )


def _contradiction(said: str, name: str) -> StoreRefusedError:
    return StoreRefusedError(f"{said} and the name {name} differ: which is meant?", code="contradiction")
