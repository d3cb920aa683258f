"""Index of a domain: its versions, the active one, the pinned ones, and the history of changes.

These are pure values and transitions. store.py writes them to disk: every change takes effect by replacing
this one small file. Format 2 has pins and versions that were added without becoming active. An index without
them is written in format 1, which earlier servers read.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ssvd_asr.errors import StoreError, StoreRefusedError

FORMAT: Literal[1] = 1
FORMAT_WITH_PINS: Literal[2] = 2
BUILTIN_VERSION = 1  # a built-in adapter is always version 1 of its name

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Number = Annotated[int, Field(ge=1, le=999_999_999)]
Action = Literal["publish", "activate", "rollback", "remove", "add", "pin", "unpin"]
_OF_FORMAT_2 = ("add", "pin", "unpin")  # actions of events


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Entry(_Strict):
    """Version in the index: a number that is never reused, and the digest and size of its file."""

    version: Number
    sha256: Sha256
    size_bytes: int = Field(ge=1)
    published_at: str = Field(max_length=40)  # ISO 8601, UTC


class Event(_Strict):
    """Change to the domain, and the version that it concerns."""

    at: str = Field(max_length=40)  # ISO 8601, UTC
    action: Action
    version: Number


class DomainIndex(_Strict):
    """Content of the file `domains/<name>.json`. Every change returns a new index; `events` only grows.

    `previous` is the stack for rollback: the versions that were active before, newest last. In a file,
    `active` is null only if every version was removed. The file stays, so that no number is reused.
    `pinned` versions are not removed until they are unpinned.
    """

    format: Literal[1, 2] = FORMAT
    name: str
    next_version: Number
    active: Number | None
    previous: tuple[Number, ...] = ()
    versions: tuple[Entry, ...] = ()
    events: tuple[Event, ...] = ()
    pinned: tuple[Number, ...] = ()  # in order

    @model_validator(mode="after")
    def _consistent(self) -> DomainIndex:
        numbers = [entry.version for entry in self.versions]
        if numbers != sorted(set(numbers)) or (numbers and numbers[-1] >= self.next_version):
            raise ValueError(f"versions {numbers} are not in order below next_version {self.next_version}")
        for number in (*self.previous, *([] if self.active is None else [self.active])):
            if number not in numbers and number != BUILTIN_VERSION:
                raise ValueError(f"version {number} is active or was, and is not in the list")
        if any(number not in numbers for number in self.pinned):
            raise ValueError(f"of the pinned versions {list(self.pinned)} one is not in the list")
        return self

    @classmethod
    def empty(cls, name: str, *, has_builtin: bool) -> DomainIndex:
        """Return the index of a domain before its first publish. A built-in is version 1 and active."""
        if has_builtin:
            return cls(name=name, next_version=BUILTIN_VERSION + 1, active=BUILTIN_VERSION)
        return cls(name=name, next_version=1, active=None)

    @classmethod
    def from_json(cls, text: bytes, name: str) -> DomainIndex:
        """Return the index of this name from its file's bytes.

        Raises:
            StoreError: the text is not the index of this name.
        """
        try:
            index = cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, first["loc"]))[:100] or "all of it"
            raise StoreError(f"index of domain {name!r} is damaged: {place}: {first['msg'][:200]}") from error
        if index.name != name:
            raise StoreError(f"index of domain {name!r} is damaged: it is that of {index.name[:80]!r}")
        return index

    def to_json(self) -> bytes:
        """Return the file's bytes."""
        if not self.pinned and all(event.action not in _OF_FORMAT_2 for event in self.events):
            earlier = self.model_copy(update={"format": FORMAT})
            return earlier.model_dump_json(indent=1, exclude={"pinned"}).encode() + b"\n"
        return self.model_copy(update={"format": FORMAT_WITH_PINS}).model_dump_json(indent=1).encode() + b"\n"

    def find(self, version: int) -> Entry | None:
        """Return the entry of a version, or None if there is none. A built-in has none."""
        return next((entry for entry in self.versions if entry.version == version), None)

    def number_of(self, sha256: str) -> int | None:
        """Return the number of the version with this digest, or None if there is none."""
        return next((entry.version for entry in self.versions if entry.sha256 == sha256), None)

    def published(self, sha256: str, size_bytes: int, *, activate: bool = True) -> DomainIndex:
        """Return the index with a new version, active unless `activate` is false.

        A version that has these bytes is reused.

        Raises:
            StoreRefusedError: the version would not be active, and no other is.
        """
        if not activate and self.active is None:
            raise StoreRefusedError(
                f"{self.name!r} has no version yet, so that its first one has to become active",
                code="first_version",
            )
        known = self.number_of(sha256)
        if known is not None:
            return self._now("publish", known) if activate else self
        entry = Entry(
            version=self.next_version, sha256=sha256, size_bytes=size_bytes, published_at=_timestamp()
        )
        grown = self.model_copy(
            update={"versions": (*self.versions, entry), "next_version": self.next_version + 1}
        )
        return grown._now("publish", entry.version) if activate else grown._noted("add", entry.version)

    def activated(self, version: int) -> DomainIndex:
        """Return the index with an existing version (or the built-in) active."""
        return self._now("activate", version)

    def rolled_back(self) -> DomainIndex:
        """Return the index with the version active before this one. Doing it again goes further back.

        Raises:
            StoreRefusedError: no version was active before.
        """
        if not self.previous:
            raise StoreRefusedError(
                f"{self.name!r} cannot be rolled back: nothing was active before {self.active}",
                code="nothing_before",
            )
        target = self.previous[-1]
        return self._noted("rollback", target, active=target, previous=self.previous[:-1])

    def removed(self, versions: set[int], *, has_builtin: bool) -> DomainIndex:
        """Return the index without these versions.

        If the active one is among them, the version active before it takes its place. If there was none, the
        newest version left does, else the built-in, else none.
        """
        kept = tuple(entry for entry in self.versions if entry.version not in versions)
        previous = _without_repeats(number for number in self.previous if number not in versions)
        active = self.active
        if active in versions:
            left = ([BUILTIN_VERSION] if has_builtin else []) + [entry.version for entry in kept]
            active = previous[-1] if previous else left[-1] if left else None
        while previous and previous[-1] == active:
            previous = previous[:-1]
        return self._noted("remove", *sorted(versions), versions=kept, previous=previous, active=active)

    def with_pin(self, version: int, *, pinned: bool) -> DomainIndex:
        """Return the index with a version pinned or not."""
        if (version in self.pinned) == pinned:
            return self
        left = {*self.pinned, version} if pinned else {*self.pinned} - {version}
        return self._noted("pin" if pinned else "unpin", version, pinned=tuple(sorted(left)))

    def _noted(self, action: Action, *numbers: int, **fields: object) -> DomainIndex:
        """Return the index with these fields, and an event for each of these versions."""
        events = (Event(at=_timestamp(), action=action, version=number) for number in numbers)
        return self.model_copy(update={**fields, "events": (*self.events, *events)})

    def _now(self, action: Literal["publish", "activate"], version: int) -> DomainIndex:
        if version == self.active:
            return self
        previous = self.previous if self.active is None else (*self.previous, self.active)
        return self._noted(action, version, active=version, previous=previous)


def _without_repeats(numbers: Iterable[int]) -> tuple[int, ...]:
    kept: list[int] = []
    for number in numbers:
        if not kept or kept[-1] != number:
            kept.append(number)
    return tuple(kept)


def _timestamp() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
