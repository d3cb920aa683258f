"""Count of the open live sessions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class LiveSessions:
    """Places for sessions. Used on the event loop only."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.open = 0

    @contextmanager
    def place(self) -> Iterator[bool]:
        """Yield whether there was a place, and hold it within the block."""
        if self.open >= self.limit:
            yield False
            return
        self.open += 1
        try:
            yield True
        finally:
            self.open -= 1
