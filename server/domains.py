"""From the name in a request to the cores that serve it, once, before it waits."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from adapters_store.store import AdapterStore
from adapters_store.versions import Version
from server.bank import Bank
from server.messages import DomainCores
from ssvd_asr.errors import AdapterError

logger = logging.getLogger(__name__)


class Domains:
    """The store's names, and what serves a name whose newest version is refused."""

    def __init__(self, store: AdapterStore, bank: Bank) -> None:
        self.store = store
        self._bank = bank
        self._served: dict[str, Version] = {}  # name: what last answered for it in this process

    def lease(self, reference: str) -> DomainCores:
        """Resolve "child", "child@2" or "child@sha256:..." on disk, now, and return its cores.

        Where the active version of a name is refused, what served before goes on serving: the version this
        process served last, else the newest older one that loads. A pinned version is that one or nothing.

        Raises:
            UnknownDomainError: no such name or version.
            AdapterError: the version is refused, and there is nothing before it.
        """
        version = self.store.resolve(reference)
        pinned = "@" in reference
        try:
            cores = self._bank.get(version)
        except AdapterError as refusal:
            if pinned:
                raise
            return self._earlier(version, refusal)
        if not pinned:
            self._served[version.name] = version
        return cores

    def _earlier(self, refused: Version, refusal: AdapterError) -> DomainCores:
        for version in self._candidates(refused):
            try:
                cores = self._bank.get(version)
            except AdapterError:
                continue  # the bank has logged why; an older one may do
            logger.warning("%s@%d goes on serving: %s", version.name, version.version, refusal)
            return cores
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
