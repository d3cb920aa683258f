"""Caller: who makes a request, and what exists for them."""

from __future__ import annotations

from dataclasses import dataclass

from server.keys.book import Scope


@dataclass(frozen=True)
class Caller:
    """The holder of a key, or anyone without one where the server asks for none.

    Attributes:
        name: of the key; None without one. All who have none are one caller.
        sha256: of the key; empty without one.
        hidden: private domains that do not exist for this caller.
        audio_s_per_hour, concurrent: as of the key.
    """

    name: str | None
    scope: Scope
    hidden: frozenset[str]
    sha256: str = ""
    audio_s_per_hour: int | None = None
    concurrent: int | None = None

    def may_use(self, domain: str) -> bool:
        """Return whether a domain of this name exists for the caller, if it exists at all."""
        return domain not in self.hidden
