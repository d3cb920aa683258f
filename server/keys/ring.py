"""Ring of keys: says who the caller of a request is, by the keys as they are on disk now."""

from __future__ import annotations

import logging
import os
import shlex
import threading
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

from server.configuration.access import Auth
from server.errors import ApiError
from server.keys.book import Key, KeyBook, KeysError
from server.keys.caller import Caller
from server.keys.file import KEYS_VARIABLE, KeyFile, State
from ssvd_asr.errors import SsvdError

logger = logging.getLogger(__name__)

INVALID = "invalid_api_key"
HOW = "send one as `Authorization: Bearer KEY`; `ssvd keys add NAME` makes one"


class KeyRing:
    """The keys of one server. Thread-safe. The file is looked at with every request and read when it changed.

    `auth` says who needs a key:

    - `on`: everyone.
    - `auto`: everyone, unless the server listens on a loopback address and there is no file of keys.
    - `off`: nobody, and keys are not looked at.

    Without a key nobody is an admin, and no private domain exists, so that `off` opens neither. The domains
    that were private stay so if the file is deleted.
    """

    def __init__(self, path: Path | None, auth: Auth, host: str) -> None:
        """`host`: the address that the server listens on.

        Raises SsvdError if the file cannot be read, or if no request could be answered, for want of keys.
        """
        self._file = KeyFile(path)
        self._auth, self._loopback = auth, is_loopback(host)
        self._lock = threading.Lock()
        self._state: State | None = None
        self._book = KeyBook()
        self._seen = False  # whether there has been a file: once keys are asked for, they stay so
        book = self._now()
        if self._asks(None) and not book.keys:
            if auth == "on":
                why = "SSVD_AUTH=on"
            elif not self._loopback:
                why = f"other machines may reach {host}"
            else:
                why = "there is a file of keys"
            raise SsvdError(
                f"{why}, and {self._file.path} ({KEYS_VARIABLE}) holds no key: make one with "
                f"`{self._how()}`, or let everyone in with SSVD_AUTH=off"
            )

    def _how(self) -> str:
        """Return the command that adds a key to this file, which a TOML file may name."""
        command = "ssvd keys add NAME"
        same = KeyFile(os.environ.get(KEYS_VARIABLE) or None).path == self._file.path
        return command if same else f"{KEYS_VARIABLE}={shlex.quote(str(self._file.path))} {command}"

    @property
    def asks(self) -> bool:
        """Whether requests to the server's own address need a key."""
        self._now()
        return self._asks(None)

    @property
    def path(self) -> Path:
        """The file of keys."""
        return self._file.path

    @property
    def private(self) -> tuple[str, ...]:
        """The private domains."""
        return self._now().private

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the keys."""
        return tuple(key.name for key in self._now().keys)

    def caller(self, secret: str | None, here: str | None = None) -> Caller:
        """Return who sends a key, or no key.

        Args:
            here: the address at which the request came in, if it is known. One that is not of this machine
                needs a key, whatever address the settings name.

        Raises ApiError 401 for a key that is missing, unknown or expired, and 503 while the file is damaged.
        """
        book = self._now_or_refuse()
        if not self._asks(here):
            return Caller(None, "transcribe", book.hidden_from(None))
        if secret is None:
            raise ApiError(401, f"this server needs a key: {HOW}", code=INVALID)
        key = book.find(secret)
        if key is None:
            raise ApiError(401, f"this key is not known here: {HOW}", code=INVALID)
        return self._holder(book, key)

    def again(self, caller: Caller) -> Caller:
        """Return a caller by the keys as they are now, for a session that lasts. Raises as `caller` does."""
        book = self._now_or_refuse()
        if caller.name is None:
            return Caller(None, caller.scope, book.hidden_from(None))
        for key in book.keys:
            if key.sha256 == caller.sha256:
                return self._holder(book, key)
        raise ApiError(401, f"key {caller.name} was revoked or rotated", code=INVALID)

    @staticmethod
    def _holder(book: KeyBook, key: Key) -> Caller:
        if key.expired(datetime.now(UTC)):
            raise ApiError(401, f"key {key.name} expired at {key.expires:%Y-%m-%d %H:%M} UTC", code=INVALID)
        return Caller(
            key.name, key.scope, book.hidden_from(key), key.sha256, key.audio_s_per_hour, key.concurrent
        )

    def _asks(self, here: str | None) -> bool:
        if self._auth != "auto":
            return self._auth == "on"
        return self._seen or not self._loopback or _is_outside(here)

    def _now(self) -> KeyBook:
        """Return the book as it is on disk now. Raises KeysError."""
        with self._lock:
            state = self._file.state()
            if state != self._state:
                found = self._file.find()  # if it is replaced in between, the next look reads it again
                self._book = KeyBook(private=self._book.private) if found is None else found
                self._state = state
                self._seen = self._seen or state is not None
            return self._book

    def _now_or_refuse(self) -> KeyBook:
        try:
            return self._now()
        except KeysError as error:
            logger.error("%s", error)
            raise ApiError(
                503, "the server's keys cannot be read; its log has the details", code="keys_unreadable"
            ) from error


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches an address. A name is not looked up, but for `localhost`."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_outside(here: str | None) -> bool:
    """Return whether this is an IP address that other machines reach."""
    try:
        return here is not None and not ip_address(here).is_loopback
    except ValueError:
        return False  # a socket's path, or a test's name
