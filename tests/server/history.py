"""What answered for each name of a store while one thread changed it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Container, Iterable, Sequence
from pathlib import Path
from random import Random

from adapters_store.store import AdapterStore
from ssvd_asr.errors import StoreError, UnknownDomainError


class History:
    """Which digests answered for a name, and between which times they came and went. Thread-safe."""

    def __init__(self, names: Iterable[str]) -> None:
        """Begin with nothing published under these names."""
        self.changes: dict[str, list[tuple[float, float, str | None]]] = {name: [] for name in names}
        self.lock = threading.Lock()

    def change(self, store: AdapterStore, name: str, act: Callable[[], object]) -> None:
        """Do something to a name and note what is active afterwards."""
        begun_s = time.monotonic()
        try:
            act()
        except (StoreError, UnknownDomainError):  # nothing to roll back, nothing to remove
            return
        try:
            active: str | None = store.resolve(name).sha256
        except UnknownDomainError:
            active = None
        with self.lock:
            self.changes[name].append((begun_s, time.monotonic(), active))

    def possible(self, name: str, begun_s: float, ended_s: float) -> set[str | None]:
        """What may have answered for the name at any moment between the two times."""
        with self.lock:
            changes = list(self.changes[name])
        settled = [active for _, done_s, active in changes if done_s <= begun_s]
        during = {active for start_s, done_s, active in changes if done_s > begun_s and start_s <= ended_s}
        return during | set(settled[-1:] or [None])


def change_at_random(
    history: History,
    store: AdapterStore,
    names: Sequence[str],
    lasting: Container[str],
    files: Sequence[Path],
    random: Random,
    *,
    activates: bool = False,
) -> None:
    """Publish, roll back or remove a version of one of the names, or activate one if `activates`.

    Only a name that is not `lasting` loses its last version.
    """
    name = random.choice(names)
    file = random.choice(files)

    def publish() -> None:
        store.publish(name, file)

    def activate() -> None:
        store.activate(name, random.choice(store.versions(name)).version)

    def roll_back() -> None:
        store.rollback(name)

    def remove() -> None:
        versions = store.versions(name)
        if len(versions) > 1 or name not in lasting:
            store.remove(name, random.choice(versions).version)

    acts = [publish, publish, *([activate] if activates else []), roll_back, remove]
    history.change(store, name, random.choice(acts))
