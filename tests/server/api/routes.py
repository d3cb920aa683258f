"""Every route that an app answers, its mounted apps' and included routers' too.

`python -m tests.server.api.routes` prints those of a server with the page. gradio leaves event loops open, so
it has a process of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi.routing import APIRoute, APIWebSocketRoute
from starlette.routing import Mount, Route, WebSocketRoute

from server.api.access import WEBSOCKET


def routes_of(app: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield each route as the table of access writes it: (method, path)."""
    for route in app.routes:
        if hasattr(route, "effective_candidates"):  # a router that FastAPI includes
            known = list(route.effective_candidates())
            assert known, "FastAPI keeps included routes elsewhere now"
            for each in known:
                yield from _methods(each.starlette_route or each.original_route, prefix, each.path)
        elif isinstance(route, Mount):
            yield from routes_of(route.app, prefix + route.path)
        else:
            yield from _methods(route, prefix)


def _methods(route: Any, prefix: str, path: str | None = None) -> Iterator[tuple[str, str]]:
    kept = (prefix + (path or route.path)).rstrip("/") or "/"
    if isinstance(route, APIWebSocketRoute | WebSocketRoute):
        yield WEBSOCKET, kept
        return
    assert isinstance(route, APIRoute | Route), f"a route of a kind that nobody looked at: {route}"
    for method in {"GET" if each == "HEAD" else each for each in route.methods or ()}:
        yield method, kept


if __name__ == "__main__":
    from server.app import create_app
    from server.settings import ServerSettings

    for found in sorted(set(routes_of(create_app(ServerSettings(ui=True, auth="off"))))):
        print(*found)
