"""HEAD on every GET route: the status and headers of GET, and no body."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Head:
    """ASGI middleware that has HEAD answered as GET, but for the paths at and below `except_below`."""

    def __init__(self, app: ASGIApp, except_below: str) -> None:
        self.app = app
        self.except_below = except_below

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD" or self._excepted(scope["path"]):
            await self.app(scope, receive, send)
            return

        async def without_body(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        as_get = {**scope, "method": "GET"}
        try:
            await self.app(as_get, receive, without_body)
        finally:
            scope["route"] = as_get.get("route")  # for those above, who count requests by it

    def _excepted(self, path: str) -> bool:
        return path == self.except_below or path.startswith(f"{self.except_below}/")
