"""Heartbeats of pages: which visits are present.

A page of gradio, and gradio's own client, hold one connection open until the visitor leaves. gradio tells of
its end only, and only once, so that a file claimed later, or by a client without one, would never be let go.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from ui.visits import Visits

_HEARTBEAT = re.compile(r"/gradio_api/heartbeat/([^/]+)/?$")
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Message, Receive, Send], Awaitable[None]]


class Heartbeats:
    """ASGI middleware that notes a visit as present while its heartbeat is open."""

    def __init__(self, app: Asgi, visits: Visits) -> None:
        self._app = app
        self._visits = visits

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        found = _HEARTBEAT.search(scope.get("path", ""))
        if found is None:
            await self._app(scope, receive, send)
            return
        with self._visits.present(found[1]):
            await self._app(scope, receive, send)
