"""Another writer of a store elsewhere, who is faster."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from adapters_store.remote_storage import Remote


def overtaken_once(monkeypatch: pytest.MonkeyPatch, kind: type[Remote], act: Callable[[], object]) -> None:
    """Let another writer act right before the first `put` of a kind of storage."""
    put, first = kind.put, iter([True])

    def late(self: Remote, path: str, data: bytes, tag: str | None) -> str:
        if next(first, False):
            act()
        return put(self, path, data, tag)

    monkeypatch.setattr(kind, "put", late)
