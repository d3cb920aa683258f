"""Who makes a request that changes something, and whether a page of another site made the browser send it."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from fastapi import Request
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection

from adapters_store.audit import Actor
from server.api.gate import caller_of
from server.errors import ApiError
from server.state import ServerState, state_of

ANONYMOUS = "anonymous"


def actor_of(request: Request) -> Actor:
    """Return who a request comes from, for the audit log: the key's name, and the address."""
    return Actor(caller_of(request).name or ANONYMOUS, request.client.host if request.client else "unknown")


def check_origin(request: Request) -> None:
    """Raise ApiError 403 for a change that a page of another site sends. See `refuse_other_sites`."""
    refuse_other_sites(request, state_of(request), "change nothing here")


def refuse_other_sites(connection: HTTPConnection, state: ServerState, what: str) -> None:
    """Raise ApiError 403 for what a page of a site sends which SSVD_CORS_ORIGINS does not allow.

    A browser sends some requests of any page without asking first, and only keeps the answer from the page;
    a WebSocket's it does not even keep. Clients that are no browsers send no Origin.

    Args:
        what: what such pages may not do, after "may".
    """
    if comes_from_allowed(connection.headers, state.settings.allowed_origins):
        return
    raise ApiError(
        403,
        f"pages of {connection.headers['origin'][:200]} may {what} (SSVD_CORS_ORIGINS)",
        code="origin_not_allowed",
    )


def comes_from_allowed(headers: Headers, allowed: Collection[str]) -> bool:
    """Return whether a request comes from no page, from one of this server, or from an origin allowed."""
    origin = headers.get("origin")
    if origin is None or "*" in allowed or origin in allowed:
        return True
    try:
        return urlsplit(origin).netloc == headers.get("host")
    except ValueError:  # no address, as http://[
        return False
