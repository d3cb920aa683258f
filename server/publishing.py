"""Publishing of an adapter file by a running server: checked as it will serve it, and then made visible."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from adapters_store.audit import Actor
from adapters_store.intent import Say, check_not_over_builtin, check_own_name
from adapters_store.versions import Version
from server.engine.engine import Engine
from ssvd_asr.adapter.read import inspect_adapter


@dataclass(frozen=True)
class Intent:
    """What is said with a file: see adapters_store/intent.py."""

    own_name: str | None = None
    over: str | None = None
    activate: bool = True


def publish(
    engine: Engine, name: str, file: Path | BinaryIO, intent: Intent, *, say: Say, by: Actor
) -> Version:
    """Check a file and add it as a version of a domain. It is loaded ahead of its first request.

    Nothing is visible before all checks have passed. The canary runs on the base that serves.

    Raises:
        AdapterError: the file is no adapter, is for another base, or fails its canary.
        StoreRefusedError: a word is missing (`intent`), or see `AdapterStore.publish`.
        StoreError: the store cannot be written.
        DrainingError, DeadlineError, OutOfMemoryError: see `Engine.check_adapter`.
    """
    store = engine.domains.store

    def check(copy: Path) -> None:
        check_own_name(inspect_adapter(copy), name, intent.own_name, say)
        if intent.activate:
            check_not_over_builtin(store, name, intent.over, say)
        engine.check_adapter(copy)

    version = store.publish(name, file, check=check, activate=intent.activate, by=by)
    engine.domains.bank.preload(version)
    return version
