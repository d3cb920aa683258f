"""Keys for tests, made as `ssvd keys` makes them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from adapters_store.audit import Actor, AuditLog
from server.keys.book import Key, KeyBook, digest_of, new_secret
from server.keys.file import KeyFile
from server.keys.ring import KeyRing
from server.settings import ServerSettings

TESTER = Actor("tester", "command line")


def make_key(path: Path, name: str, **members: Any) -> str:
    """Add a key to a file, and return the key."""
    secret = new_secret()
    key = Key(
        name=name, sha256=digest_of(secret), **{"scope": "transcribe", "added": datetime.now(UTC), **members}
    )
    change(path, lambda book: book.with_key(key))
    return secret


def make_private(path: Path, *domains: str) -> None:
    change(path, lambda book: book.with_private(domains))


def revoke(path: Path, name: str) -> None:
    change(path, lambda book: book.without_key(name))


def change(path: Path, to: Any) -> KeyBook:
    return KeyFile(path).change(to, AuditLog(path.with_name("audit.jsonl")), TESTER, "key.test")


def ring_of(settings: ServerSettings) -> KeyRing:
    return KeyRing(settings.keys, settings.auth, settings.host)


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}
