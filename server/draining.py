"""Uvicorn server that finishes the accepted requests before it stops, and answers the others."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from types import FrameType

import uvicorn

from server.engine.engine import Engine
from server.settings import ServerSettings
from server.state import ServerState

GRACE_S = 3  # for answers being sent, and for the page's event streams, which never end by themselves

logger = logging.getLogger(__name__)


class DrainingServer(uvicorn.Server):
    """Uvicorn server that drains on SIGTERM or SIGINT.

    It reports 503 on /readyz and finishes the accepted requests and live turns. When that has taken
    `drain_timeout_s`, or at a second signal, the rest is answered with 503, an error event, or an error event
    and close code 1001. Then it stops listening. A third signal cuts off what is still being sent.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        engine: Engine,
        settings: ServerSettings,
        ready: Callable[[], None] = lambda: None,
    ) -> None:
        """`ready` is called once the server listens."""
        super().__init__(config)
        logging.getLogger("uvicorn.error").addFilter(_is_no_cancellation)
        self._engine = engine
        self._settings = settings
        self._ready = ready
        self._signals = 0
        self._asked_to_stop_at = 0.0  # time.monotonic()
        self._ended_at: float | None = None  # when the rest was given up

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen, and tell so."""
        await super().startup(sockets)
        if self.started:
            self._ready()

    def handle_exit(self, _signal: int, _frame: FrameType | None) -> None:
        """Drain on the first SIGTERM or SIGINT, give up the rest on the second, stop at once on the third."""
        self._signals += 1
        if self._signals == 1:
            self._asked_to_stop_at = time.monotonic()
            self._engine.drain()
        elif self._signals > 2:
            self.should_exit = self.force_exit = True

    async def on_tick(self, counter: int) -> bool:
        """Return whether to stop. Uvicorn calls this ten times a second."""
        if self._signals:
            now = time.monotonic()
            waited_s = now - self._asked_to_stop_at
            if self._ended_at is None and (self._signals > 1 or waited_s >= self._settings.drain_timeout_s):
                self._ended_at = now
                self._end()
            noticed = waited_s >= self._settings.drain_notice_s or self._signals > 1
            cut_off = self._ended_at is not None and now - self._ended_at >= GRACE_S
            if (noticed and self._nothing_is_open()) or cut_off:
                self.should_exit = True
        return await super().on_tick(counter)

    def _nothing_is_open(self) -> bool:
        """Return whether every answer has at least begun, and no live session is open."""
        return self._engine.idle and not len(self._state.unanswered) and not self._state.live.open

    def _end(self) -> None:
        left = max(self._engine.unfinished, len(self._state.unanswered))
        if left or self._state.live.open:
            logger.warning(
                "stopping: %d requests and %d live sessions are not finished", left, self._state.live.open
            )
        self._engine.give_up()
        # Those that wait for the engine answer by themselves in the loop's next turns.
        asyncio.get_running_loop().call_later(0.2, self._state.unanswered.end)

    @property
    def _state(self) -> ServerState:
        state: ServerState = self.config.app.state.ssvd  # type: ignore[union-attr]
        return state


def _is_no_cancellation(record: logging.LogRecord) -> bool:
    """Return whether a record is not the traceback of a request that the server cancelled to stop.

    Uvicorn says in a line of its own how many these are, such as the event streams of open pages.
    """
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))
