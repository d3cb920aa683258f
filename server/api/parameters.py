"""What a route does not take is refused: other parameters in the address, a body, a key given twice."""

from __future__ import annotations

from typing import Any

from fastapi import Depends, Request
from fastapi.routing import APIRoute

from server.errors import ApiError
from server.repeated_keys import repeated_key


def check_parameters(request: Request) -> None:
    """Raise ApiError 400 for a parameter that the route does not have, and for one that is given twice."""
    route: APIRoute = request.scope["route"]
    known = [field.alias for field in route.dependant.query_params]
    for name in request.query_params:
        if name not in known:
            there = f"it has {', '.join(known)}" if known else "it has none"
            raise ApiError(
                400, f"{name[:80]!r} is no parameter of {route.path}: {there}",
                code="invalid_value", param=name[:80],
            )  # fmt: skip
        if len(request.query_params.getlist(name)) > 1:
            raise ApiError(400, f"{name} is given twice", code="invalid_value", param=name)


async def check_body(request: Request) -> None:
    """Raise ApiError 400 for a body where the route takes none, and for JSON in which a key is given twice.

    A form is read, and checked, by its route.
    """
    route: APIRoute = request.scope["route"]
    if route.body_field is not None:
        if (key := repeated_key(await request.body())) is not None:  # FastAPI has read it, and keeps it
            raise ApiError(400, f"{key[:80]} is given twice", code="invalid_value", param=key[:80])
    elif "requestBody" not in (route.openapi_extra or {}):
        # To its end, so that the client sees the answer and not a broken pipe. BodyLimit bounds it.
        count = sum([len(chunk) async for chunk in request.stream()])
        if count:
            raise ApiError(
                400, f"{request.method} {route.path} takes no body, and {count} bytes came with it",
                code="invalid_value", param="body",
            )  # fmt: skip


STRICT: list[Any] = [Depends(check_parameters), Depends(check_body)]  # for every route but those of probes
