"""Requests whose answer has not begun, and the end of them when the server stops."""

from __future__ import annotations

import asyncio


class Unanswered:
    """Requests whose answer has not begun. Used on the event loop only."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[object]] = set()
        self.ended = False

    def __len__(self) -> int:
        return len(self._tasks)

    def begin(self, task: asyncio.Task[object]) -> None:
        """Note a request by its task."""
        self._tasks.add(task)

    def answered(self, task: asyncio.Task[object]) -> bool:
        """Forget a request; return whether it was noted."""
        known = task in self._tasks
        self._tasks.discard(task)
        return known

    def end(self) -> None:
        """Cancel all of them. Those that begin later are not affected: the engine refuses them."""
        self.ended = True
        for task in self._tasks:
            task.cancel()
