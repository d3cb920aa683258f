"""A first-in-first-out queue bounded in seconds of audio: what waits is what will cost time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence


class AudioQueue[T]:
    """Thread-safe. Items go in all together or not at all, and come out in order."""

    def __init__(self, max_audio_s: float) -> None:
        self.max_audio_s = max_audio_s
        self._items: deque[tuple[T, float]] = deque()
        self._waiting_s = 0.0
        self._closed = False
        self._changed = threading.Condition()

    @property
    def waiting_s(self) -> float:
        """Seconds of audio not yet taken."""
        return self._waiting_s

    def put(self, items: Sequence[tuple[T, float]]) -> bool:
        """Add (item, seconds of audio) pairs; False, and nothing added, where they do not fit.

        Raises RuntimeError after `close`.
        """
        seconds = sum(audio_s for _, audio_s in items)
        with self._changed:
            if self._closed:
                raise RuntimeError("the queue is closed")
            if self._waiting_s + seconds > self.max_audio_s:
                return False
            self._items.extend(items)
            self._waiting_s += seconds
            self._changed.notify()
            return True

    def take(self, limit: int = 1) -> list[T]:
        """Wait for items and remove up to `limit` of them; empty once the queue is closed and drained."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closed)
            taken = [self._items.popleft() for _ in range(min(limit, len(self._items)))]
            self._waiting_s = sum(audio_s for _, audio_s in self._items)  # summed anew: no drift
            return [item for item, _ in taken]

    def close(self) -> None:
        """Refuse further items; what waits can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def clear(self) -> list[T]:
        """Remove and return all that waits."""
        with self._changed:
            items = [item for item, _ in self._items]
            self._items.clear()
            self._waiting_s = 0.0
            return items
