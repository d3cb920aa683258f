"""Aliases: names that stand for a domain, as "kids" for "child", or for one version of it, as "child@2"."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from adapters_store.names import Reference, is_name, parse_reference
from ssvd_asr.errors import StoreError, UnknownDomainError


class Aliases(BaseModel):
    """Content of the document `aliases.json`: the reference that each alias stands for."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal[1] = 1
    aliases: dict[str, str] = {}

    @classmethod
    def from_json(cls, text: bytes | None) -> Aliases:
        """Return the aliases of a document; none where there is no document. Raises StoreError."""
        if text is None:
            return cls()
        try:
            read = cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, first["loc"]))[:100] or "all of it"
            raise _damaged(f"{place}: {first['msg'][:200]}") from error
        for alias, stands_for in read.aliases.items():
            if not is_name(alias):
                raise _damaged(f"{alias[:80]!r} is no name")
            try:
                parse_reference(stands_for)
            except UnknownDomainError as error:
                raise _damaged(f"{alias!r} stands for {stands_for[:80]!r}, which is no reference") from error
        return read

    def to_json(self) -> bytes:
        """Return the document."""
        ordered = self.model_copy(update={"aliases": dict(sorted(self.aliases.items()))})
        return ordered.model_dump_json(indent=1).encode() + b"\n"

    def with_alias(self, alias: str, stands_for: str) -> Aliases:
        """Return the aliases with one added or changed."""
        return self.model_copy(update={"aliases": {**self.aliases, alias: stands_for}})

    def without(self, alias: str) -> Aliases:
        """Return the aliases without one of them. Raises UnknownDomainError if it is not there."""
        if alias not in self.aliases:
            raise UnknownDomainError(f"no alias {alias[:120]!r} in the store")
        return self.model_copy(
            update={"aliases": {name: each for name, each in self.aliases.items() if name != alias}}
        )

    def meaning(self, wanted: Reference) -> Reference | None:
        """Return what a reference to an alias stands for, as "child@3" for "kids@3"; None if it is to none.

        Raises UnknownDomainError for a version of an alias that stands for a version.
        """
        text = self.aliases.get(wanted.name)
        if text is None:
            return None
        meant = parse_reference(text)
        if not wanted.pinned:
            return meant
        if meant.pinned:
            raise UnknownDomainError(
                f"no domain {wanted.text!r}: {wanted.name!r} is an alias of {text!r}, which is one version"
            )
        return replace(meant, version=wanted.version, digest_start=wanted.digest_start)


def _damaged(why: str) -> StoreError:
    return StoreError(f"aliases.json of the store is damaged: {why}")
