"""Size limit on every request body, counted while it is read: of audio, or of an adapter to be published."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.api.access import PUBLISHES, path_of
from server.api.refusals import refusal
from server.errors import ApiError

logger = logging.getLogger(__name__)

# Behind the answer, a body is read and discarded up to this many times the limit. Without this, a client that
# sends all before it reads sees a broken pipe instead of the answer. A client that sends more is cut off.
DISCARD_FACTOR = 2

GONE: Message = {"type": "http.disconnect"}


@dataclass(frozen=True)
class Limit:
    """The largest body, and the setting that changes it."""

    max_bytes: int
    setting: str


class _Body:
    """Counts what is received of one request's body."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.count = 0  # bytes
        self.ended = False

    async def receive(self) -> Message:
        message = await self._receive()
        self.count += len(message.get("body", b""))
        self.ended = message["type"] != "http.request" or not message.get("more_body", False)
        return message


class BodyLimit:
    """ASGI middleware: 413 in OpenAI's shape for a body over its limit, whatever its Content-Length says.

    The answer comes as soon as the declared length or the bytes that have come pass the limit.

    The app sees a disconnect when the body passes the limit. An answer that it starts after that is dropped.
    A client that leaves before its body is read gets no answer, and is no fault.
    """

    def __init__(self, app: ASGIApp, audio: Limit, adapters: Limit) -> None:
        self.app = app
        self.audio = audio
        self.adapters = adapters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        publishes = scope["method"] == "POST" and PUBLISHES.match(path_of(scope).rstrip("/"))
        limit = self.adapters if publishes else self.audio
        max_bytes = limit.max_bytes
        body = _Body(receive)
        if _declared(scope) > max_bytes:
            await _refuse(limit, body, scope, send)
            return
        answering = False

        async def bounded_receive() -> Message:
            message = await body.receive() if body.count <= max_bytes else GONE
            return message if body.count <= max_bytes else GONE

        async def watched_send(message: Message) -> None:
            nonlocal answering
            if body.count <= max_bytes or answering:
                answering = True
                await send(message)

        try:
            await self.app(scope, bounded_receive, watched_send)
        except ClientDisconnect:
            if body.count <= max_bytes:
                logger.debug("a client left after %d bytes of its upload", body.count)
        except Exception:
            if body.count <= max_bytes:
                raise
        if body.count > max_bytes and not answering:
            await _refuse(limit, body, scope, send)


async def _refuse(limit: Limit, body: _Body, scope: Scope, send: Send) -> None:
    """Send the answer, and end it when the body is discarded. A client that asks first sends no body."""
    refused = ApiError(
        413,
        f"the request body is over the limit of {limit.max_bytes} bytes ({limit.setting})",
        code="upload_too_large",
        param="file",
    )
    response = refusal(refused, scope)
    response.headers["Connection"] = "close"  # what is left of the body is no request
    asks_first = not body.count and Headers(scope=scope).get("expect", "").lower() == "100-continue"

    async def discarding_send(message: Message) -> None:
        if message["type"] == "http.response.body" and not asks_first:
            await send({**message, "more_body": True})
            while not body.ended and body.count <= DISCARD_FACTOR * limit.max_bytes:
                await body.receive()
            message = {"type": "http.response.body", "body": b""}
        await send(message)

    await response(scope, body.receive, discarding_send)


def _declared(scope: Scope) -> int:
    length = Headers(scope=scope).get("content-length", "0")
    return int(length) if length.isdecimal() else 0
