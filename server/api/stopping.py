"""The end of requests that the server does not finish before it stops: 503 `stopping` in OpenAI's shape.

Uvicorn cancels them after a while, and their clients would see a connection that breaks. This middleware
cancels them first, and answers those that have no answer yet. It covers what the engine does not know of: an
upload that is still being read, and a domain that a slow disk is loading.
"""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.api.refusals import refusal
from server.errors import STOPPED, ApiError
from server.unanswered import Unanswered


class Stopping:
    """ASGI middleware that answers the requests which `Unanswered.end` cancels."""

    def __init__(self, app: ASGIApp, unanswered: Unanswered) -> None:
        self.app = app
        self.unanswered = unanswered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, noted until its answer begins."""
        task = asyncio.current_task()
        if scope["type"] != "http" or task is None:
            await self.app(scope, receive, send)
            return
        unanswered = self.unanswered
        unanswered.begin(task)

        async def watched(message: Message) -> None:
            unanswered.answered(task)
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except asyncio.CancelledError:
            if not unanswered.answered(task) or not unanswered.ended:
                raise
            task.uncancel()
            response = refusal(ApiError(503, STOPPED, code="stopping"), scope)
            await response(scope, receive, send)
        finally:
            unanswered.answered(task)
