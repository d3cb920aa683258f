"""Parameters in the address of a request: those that its route does not have are refused."""

from __future__ import annotations

from fastapi import Request
from fastapi.routing import APIRoute

from server.errors import ApiError


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
