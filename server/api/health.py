"""Health routes. GET /healthz: whether the process works. GET /readyz: whether it takes requests."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from server.api.documented import refusals
from server.api.refusals import error_response
from server.errors import DEVICE_ENDED
from server.state import state_of

router = APIRouter()


@router.get("/healthz", responses=refusals(503, public=True))
async def healthz(request: Request) -> JSONResponse:
    """Return 200 while the device's thread lives, else 503, so that a supervisor restarts the process."""
    if not state_of(request).engine.alive:
        return error_response(503, DEVICE_ENDED, code="dead")
    return JSONResponse({"status": "ok"})


@router.get("/readyz", responses=refusals(503, public=True))
async def readyz(request: Request) -> JSONResponse:
    """Return 200 while requests are taken, 503 once the server is stopping."""
    state = state_of(request)
    if not state.engine.ready:
        return error_response(503, "the server is stopping", code="stopping", retry_after_s=1)
    return JSONResponse({"status": "ready", "waiting_audio_s": round(state.waiting_s, 1)})
