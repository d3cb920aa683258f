"""Lookup of a domain: turns the name in a request into a lease on the version that serves it.

The lookup happens once, before the request is queued.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack

from adapters_store.blends import blend_of, is_blend, parse_blend, resolve_blend
from adapters_store.catalogue import unknown_domain
from adapters_store.names import parse_reference
from adapters_store.store import AdapterStore
from adapters_store.versions import Version
from server.bank.bank import Bank, Lease
from server.tally import REFUSED_DOMAINS
from ssvd_asr.errors import AdapterError, StoreError, WrongBaseError

logger = logging.getLogger(__name__)

NONE_HIDDEN: frozenset[str] = frozenset()
MOVES = 5  # lookups of a name: its version may be removed after it is resolved and before it is read


class Domains:
    """The store's domains, with an earlier version for each name whose active version is refused."""

    def __init__(self, store: AdapterStore, bank: Bank) -> None:
        self.store = store
        self.bank = bank
        self._served: dict[str, Version] = {}  # name: version last leased in this process

    def lease(self, reference: str, hidden: frozenset[str] = NONE_HIDDEN) -> Lease:
        """Resolve "child", "child@2", "child@sha256:..." or a blend of such on disk and lease it.

        Names in `hidden` do not exist for whoever asks.

        If the active version of a name is refused, lease an earlier one: the version this process served
        last, else the newest older one that loads. A pinned version has no replacement.

        Raises:
            UnknownDomainError: no such name or version.
            AdapterError: the version is refused, and no earlier one serves.
            BlendError: it is no blend, or its parts are not of one form.
            BankFullError, LoaderError: the version cannot be loaded now.
        """
        if is_blend(reference):
            return self._lease_blend(reference, hidden)
        version = hiding(self.store, hidden)(reference)
        if version.name != reference.partition("@")[0]:
            reference = self.store.meaning(reference)  # of an alias, which may pin a version
        for move in range(MOVES):
            try:
                lease = self.bank.lease(version)
            except AdapterError as refusal:
                named, version = version, self.store.resolve(reference)
                if version != named and move + 1 < MOVES:
                    continue
                if "@" in reference:
                    raise
                return self._earlier(version, refusal)
            break
        if "@" not in reference:
            self._served[version.name] = version
        return lease

    def at_hand(self, reference: str, hidden: frozenset[str] = NONE_HIDDEN) -> bool:
        """Return whether `lease` would wait for no file. Raises UnknownDomainError and BlendError."""
        resolve = hiding(self.store, hidden)
        found = resolve_blend(reference, resolve) if is_blend(reference) else resolve(reference)
        return found.sha256 in self.bank.host  # one only in a slot is read again

    def fetch(self, reference: str) -> None:
        """Load what `lease` would lease into memory, waiting for its file. Raises as `lease` does."""
        self.lease(reference).release()

    def preload(self, base_name: str, base_digest: str) -> None:
        """Load the active version of every domain of the base in the background, as far as there is room."""
        try:
            domains = self.store.list()
        except StoreError as error:  # requests that need the store report the error
            logger.error("nothing is loaded ahead: %s", error)
            return
        for domain in domains:
            if problem_of(domain.active, base_name, base_digest) is None:
                self.bank.preload(domain.active)

    def _lease_blend(self, text: str, hidden: frozenset[str]) -> Lease:
        """Lease a blend that is in memory, or lease its parts as they would be alone and make it of them.

        A blend is self-contained: its parts may be removed or evicted while it is used.
        """
        references = parse_blend(text)
        if len(references) == 1 and references[0][1] == 1:  # the domain itself
            return self.lease(references[0][0].text, hidden)
        known = self.bank.lease_known(resolve_blend(text, hiding(self.store, hidden)))
        if known is not None:
            return known
        with ExitStack() as held:
            leases = [held.enter_context(self.lease(each.text, hidden)) for each, _ in references]
            versions = [lease.of for lease in leases if isinstance(lease.of, Version)]
            weights = [weight for _, weight in references]
            blend = blend_of(list(zip(versions, weights, strict=True)))
            return self.bank.lease_blend(blend, {lease.sha256: lease.packed for lease in leases})

    def _earlier(self, refused: Version, refusal: AdapterError) -> Lease:
        for version in self._candidates(refused):
            try:
                lease = self.bank.lease(version)
            except AdapterError:
                continue  # the bank has logged the reason; try an older version
            logger.warning("%s@%d goes on serving: %s", version.name, version.version, refusal)
            self.bank.tally.add(REFUSED_DOMAINS)
            return lease
        raise refusal

    def _candidates(self, refused: Version) -> Iterator[Version]:
        last = self._served.get(refused.name)
        if last is not None and last.sha256 != refused.sha256:
            yield last
        yield from sorted(
            (each for each in self.store.versions(refused.name) if each.version < refused.version),
            key=lambda each: each.version,
            reverse=True,
        )


def hiding(store: AdapterStore, hidden: frozenset[str]) -> Callable[[str], Version]:
    """Return the store's `resolve` for whom some names do not exist, nor aliases that stand for them.

    Its error is the one of an unknown name.
    """
    if not hidden:
        return store.resolve

    def visible(reference: str) -> Version:
        name = parse_reference(reference).name
        if store.meaning(name).partition("@")[0] in hidden:
            raise unknown_domain(name)
        return store.resolve(reference)

    return visible


def problem_of(version: Version, base_name: str, base_digest: str) -> str | None:
    """Return why a version cannot be served with a base, judged by its metadata, or None."""
    try:
        check_base(version, base_name, base_digest)
    except AdapterError as error:
        return str(error)
    return None


def check_base(version: Version, base_name: str, base_digest: str) -> None:
    """Raise WrongBaseError for a version that was made for another base, AdapterError for a damaged one."""
    metadata = version.metadata
    if metadata.base_digest != base_digest:
        raise WrongBaseError(f"made for base {metadata.base_name}, not for {base_name}")
