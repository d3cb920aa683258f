"""What a store has to hold after each change, kept as plain numbers, and the changes themselves."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from adapters_store.store import AdapterStore
from ssvd_asr.errors import StoreError, UnknownDomainError


class NotPossible(Exception):
    """There is no such name or version, or nothing to go back to."""


@dataclass
class Domain:
    """The versions of one name by number, and which one answers. Raises NotPossible as the store refuses."""

    versions: dict[int, str] = field(default_factory=dict)  # digests
    active: int | None = None
    before: list[int] = field(default_factory=list)  # active earlier, the latest last
    published: int = 0

    @property
    def digest(self) -> str | None:
        """What answers for the name; None where nobody does."""
        return None if self.active is None else self.versions[self.active]

    def publish(self, digest: str) -> None:
        """Add a version, or take up the one that has these bytes."""
        number = next((each for each, known in self.versions.items() if known == digest), None)
        if number is None:
            self.published += 1
            number = self.published
            self.versions[number] = digest
        self.activate(number)

    def activate(self, number: int) -> None:
        """Make a version the one that answers."""
        if number not in self.versions:
            raise NotPossible
        if self.active not in (None, number):
            assert self.active is not None
            self.before.append(self.active)
        self.active = number

    def rollback(self) -> None:
        """Go back to the version before."""
        if not self.versions or not self.before:
            raise NotPossible
        self.active = self.before.pop()

    def remove(self, number: int) -> None:
        """Take a version away; if it answered, the one before does, or else the newest."""
        if number not in self.versions:
            raise NotPossible
        del self.versions[number]
        before = [each for each in self.before if each != number]
        self.before = [each for place, each in enumerate(before) if before[place - 1 : place] != [each]]
        if self.active == number:
            self.active = self.before[-1] if self.before else max(self.versions, default=None)
        while self.before and self.before[-1] == self.active:
            self.before.pop()


class Changes:
    """The changes of a store as one process makes them. Each raises NotPossible where it is refused."""

    def __init__(self, store: AdapterStore) -> None:
        self._store = store

    def publish(self, name: str, file: Path) -> None:
        """Publish a file under a name."""
        self._store.publish(name, file)

    def activate(self, name: str, number: int) -> None:
        """Make a version active."""
        try:
            self._store.activate(name, number)
        except UnknownDomainError as error:
            raise NotPossible from error

    def rollback(self, name: str) -> None:
        """Go back to the version before."""
        try:
            self._store.rollback(name)
        except (UnknownDomainError, StoreError) as error:
            raise NotPossible from error

    def remove(self, name: str, number: int) -> None:
        """Remove a version."""
        try:
            self._store.remove(name, number)
        except UnknownDomainError as error:
            raise NotPossible from error
