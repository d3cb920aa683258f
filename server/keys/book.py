"""Book of keys: what is known of each key, and which domains are private. `KeyFile` keeps it on disk."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime, time
from typing import Literal, get_args

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from ssvd_asr.errors import SsvdError

Scope = Literal["transcribe", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
ALL = "*"  # among a key's domains: every private one
PREFIX = "ssvd-"  # by which people and scanners of source code know a key that leaked
KEY_BYTES = 32
AUDIT_DIGITS = 8  # of a key's hash, which name it in the audit log

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class KeysError(SsvdError):
    """A key or a change of the book of keys is refused."""


class Key(BaseModel):
    """What is known of one key. The key itself is not.

    Attributes:
        sha256: of the key. A key has 256 random bits, so nobody finds one by trying, and a slow hash with a
            salt, as passwords need, would protect nothing more.
        domains: the private domains that it may use, or ALL. An admin's key may use all without it.
        audio_s_per_hour: seconds of audio within any hour; None is no limit.
        concurrent: requests and live sessions at the same time; None is no limit.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=rf"^{_NAME.pattern}$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    scope: Scope
    domains: tuple[str, ...] = ()
    audio_s_per_hour: int | None = Field(default=None, ge=1)
    concurrent: int | None = Field(default=None, ge=1)
    expires: AwareDatetime | None = None
    added: AwareDatetime

    @property
    def audit_name(self) -> str:
        """The first digits of the hash, by which the audit log tells keys of one name apart."""
        return self.sha256[:AUDIT_DIGITS]

    def expired(self, now: datetime) -> bool:
        """Return whether the key is over."""
        return self.expires is not None and now >= self.expires

    def may_use(self, domain: str) -> bool:
        """Return whether the key may use a private domain."""
        return self.scope == "admin" or ALL in self.domains or domain in self.domains


class KeyBook(BaseModel):
    """All keys, and the names of the private domains."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    private: tuple[str, ...] = ()
    keys: tuple[Key, ...] = ()

    def get(self, name: str) -> Key:
        """Return the key of a name. Raises KeysError if there is none."""
        for key in self.keys:
            if key.name == name:
                return key
        known = ", ".join(key.name for key in self.keys) or "none"
        raise KeysError(f"no key is called {name[:80]!r}; there are: {known}")

    def find(self, secret: str) -> Key | None:
        """Return the key that a client sent, or None. Every key is compared, each in constant time."""
        digest = digest_of(secret)
        found = None
        for key in self.keys:
            if hmac.compare_digest(key.sha256, digest):
                found = key
        return found

    def hidden_from(self, key: Key | None) -> frozenset[str]:
        """Return the private domains that do not exist for the holder of a key, or for one without."""
        return frozenset(name for name in self.private if key is None or not key.may_use(name))

    def with_key(self, key: Key) -> KeyBook:
        """Return a book with one key more. Raises KeysError for a name that is taken."""
        if any(each.name == key.name for each in self.keys):
            raise KeysError(
                f"a key is called {key.name!r} already; rotate or revoke it, or choose another name"
            )
        return self._changed(keys=(*self.keys, key))

    def replaced(self, key: Key) -> KeyBook:
        """Return a book in which a key stands for the one of its name."""
        return self._changed(keys=tuple(key if each.name == key.name else each for each in self.keys))

    def without_key(self, name: str) -> KeyBook:
        """Return a book without the key of a name."""
        return self._changed(keys=tuple(each for each in self.keys if each.name != name))

    def with_private(self, names: Iterable[str]) -> KeyBook:
        """Return a book with exactly these private domains."""
        return self._changed(private=tuple(sorted(set(names))))

    def _changed(self, **members: object) -> KeyBook:
        return self.model_copy(update=members)


def new_secret() -> str:
    """Return a new key. It goes into headers and the subprotocol of a WebSocket as it is."""
    return PREFIX + secrets.token_urlsafe(KEY_BYTES)


def digest_of(secret: str) -> str:
    """Return the hash under which a key is kept."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def check_key_name(name: str) -> str:
    """Return the name if a key may have it. Raises KeysError."""
    if not _NAME.fullmatch(name):
        raise KeysError(
            f"key name {name[:80]!r} must be 1 to 64 letters, digits, '.', '_' and '-', and begin with a "
            "letter or a digit"
        )
    return name


def parse_expiry(text: str) -> datetime:
    """Read "2027-01-31", which is over at the end of that day in UTC, or a time with its offset.

    Raises KeysError for any other text.
    """
    try:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
            return datetime.combine(datetime.fromisoformat(text), time.max, UTC)
        read = datetime.fromisoformat(text)
    except ValueError as error:
        raise KeysError(f"{text[:40]!r} is no date: use 2027-01-31 or 2027-01-31T12:00+00:00") from error
    if read.tzinfo is None:
        raise KeysError(f"{text!r} has no offset from UTC: use 2027-01-31, or 2027-01-31T12:00+00:00")
    try:
        return read.astimezone(UTC)
    except OverflowError as error:
        raise KeysError(f"{text!r} is beyond the years that a date may have") from error
