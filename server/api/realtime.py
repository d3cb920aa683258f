"""WebSocket of live transcription: /v1/realtime?intent=transcription, as OpenAI's realtime API has it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from fastapi import APIRouter, WebSocket
from starlette.concurrency import run_in_threadpool
from starlette.websockets import WebSocketDisconnect, WebSocketState

from server.api.asking import Asked, request_for
from server.api.callers import refuse_other_sites
from server.api.gate import POLICY, caller_of, deny
from server.api.refusals import error_of, refusal
from server.api.replies import language_fields, logprob_fields, ssvd_fields
from server.api.watch import domain_label, note_refusal
from server.engine.messages import Reply, Request
from server.errors import ApiError, DrainingError
from server.keys.caller import Caller
from server.realtime.config import SessionConfig
from server.realtime.events import Transcription, server_event
from server.realtime.session import LiveLimits, LiveSession
from server.state import ServerState
from server.tally import TURNS
from ssvd_asr.errors import SsvdError

router = APIRouter()

SUBPROTOCOL = "realtime"  # browsers name it, since they cannot send headers
# Codes of RFC 6455 and its registry.
GOING_AWAY, TRY_LATER = 1001, 1013


# With a slash too: a WebSocket is not redirected, and a client would get a 403 without a reason.
@router.websocket("/v1/realtime/")
@router.websocket("/v1/realtime")
async def realtime(socket: WebSocket) -> None:
    """Transcribe audio as it comes. OpenAI's client and its events work unchanged."""
    state: ServerState = socket.app.state.ssvd
    try:
        refuse_other_sites(socket, state, "hold no session here")  # any page may open a WebSocket
    except ApiError as error:
        await deny(socket, refusal(error, socket.scope))
        return
    offered = SUBPROTOCOL in socket.scope.get("subprotocols", ())
    await socket.accept(SUBPROTOCOL if offered else None)
    with state.live.place() as there_is_room:
        try:
            if not there_is_room:
                raise ApiError(
                    429, f"{state.live.limit} sessions are open: the limit is SSVD_REALTIME_MAX_SESSIONS",
                    code="too_many_sessions",
                )  # fmt: skip
            await _serve(socket, state)
        except WebSocketDisconnect:
            pass
        except SsvdError as error:
            await _end(socket, error, TRY_LATER if not there_is_room else POLICY)


async def _serve(socket: WebSocket, state: ServerState) -> None:
    """Run one session until the client leaves, is silent for too long, or the server stops.

    Raises WebSocketDisconnect, and SsvdError for a session that cannot begin.
    """
    asked = dict(socket.query_params)
    for name in asked:
        if len(socket.query_params.getlist(name)) > 1:
            raise ApiError(400, f"{name} is given twice", code="invalid_value", param=name)
    if asked.pop("intent", None) != "transcription":
        raise ApiError(
            400, "intent=transcription is missing: this server transcribes, and holds no conversations",
            code="invalid_value", param="intent",
        )  # fmt: skip
    config = SessionConfig(transcription=Transcription(model=asked.pop("model", None)))
    if asked:
        name = next(iter(asked))
        raise ApiError(400, f"{name} is not a parameter here", code="invalid_value", param=name)
    settings, caller = state.settings, caller_of(socket)
    session = await run_in_threadpool(  # it looks the domain up, on a disk that may be slow
        LiveSession,
        _sender(socket),
        partial(_submit, state, caller),
        partial(_plan, state, caller),
        partial(_told, state),
        lambda error: dict(error_of(error)[1]["error"]),
        lambda: state.engine.waiting_s > 0,
        LiveLimits(settings.realtime_max_turn_s, settings.realtime_step_s),
        config,
    )
    try:
        await session.begin()
        await _until_it_ends(socket, state, session)
    finally:
        await session.close()


async def _until_it_ends(socket: WebSocket, state: ServerState, session: LiveSession) -> None:
    idle_s = state.settings.realtime_idle_s
    heard_at = asyncio.get_running_loop().time()
    while True:
        message = asyncio.ensure_future(socket.receive())
        try:
            while not (await asyncio.wait({message}, timeout=1.0))[0] and state.engine.ready:
                if asyncio.get_running_loop().time() - heard_at > idle_s:
                    why = f"nothing came for {idle_s:g} s (SSVD_REALTIME_IDLE_S)"
                    await _end(socket, ApiError(408, why, code="session_idle"), POLICY)
                    return
        finally:
            if not message.done():
                message.cancel()
        if not state.engine.ready:  # looked at with every event too: a microphone never pauses
            await session.finish()
            await _end(socket, DrainingError("the server is stopping"), GOING_AWAY)
            return
        received = message.result()
        if received["type"] == "websocket.disconnect":
            return
        heard_at = asyncio.get_running_loop().time()
        await session.handle(received.get("text") or _text_of(received.get("bytes")))


def _text_of(data: bytes | None) -> str:
    """Return a binary message as text; what is none becomes text that is no event, and is refused."""
    return (data or b"").decode(errors="replace")


def _plan(state: ServerState, caller: Caller, wanted: Transcription, scores_tokens: bool) -> Request:
    """Return the request for each turn of a session.

    Its domain is loaded, so that one which cannot serve is told before anything is said. Raises as
    request_for, Domains.at_hand, Domains.fetch and KeyRing.again do.
    """
    languages = wanted.languages or ()
    if wanted.language is not None and languages:
        raise ApiError(
            400, "language and languages are both given; name one of them", code="contradiction",
            param="session.audio.input.transcription.languages",
        )  # fmt: skip
    request = request_for(
        state,
        Asked(
            model=wanted.model,
            language=wanted.language,
            languages=languages,
            prompt=wanted.prompt or "",
            scores_tokens=scores_tokens,
            keywords=wanted.keywords or (),
        ),
        state.ring.again(caller),
    )
    domains = state.engine.domains
    if request.domain is not None and not domains.at_hand(request.domain, request.hidden):
        domains.fetch(request.domain)
    return request


def _submit(state: ServerState, caller: Caller, request: Request, new_s: int) -> Future[Reply]:
    """Queue audio of which `new_s` are not charged yet. The key may have changed since the session began."""
    now = state.ring.again(caller)
    with state.quotas.charging(now, new_s):
        return state.engine.submit(replace(request, hidden=now.hidden))


def _told(state: ServerState, reply: Reply, scores_tokens: bool) -> dict[str, Any]:
    """Return what a completed turn tells beside its transcript."""
    state.engine.tally.add(TURNS, 1, state.engine.tally.label(domain_label(reply)))
    return {
        "usage": {"type": "duration", "seconds": round(reply.duration_s, 3)},
        **(logprob_fields(reply.tokens) if scores_tokens else {}),
        **language_fields(reply),
        "ssvd": ssvd_fields(reply),
    }


def _sender(socket: WebSocket) -> Callable[[dict[str, Any]], Any]:
    """Return a function that sends events one at a time. It does nothing once the client has left."""
    one_at_a_time = asyncio.Lock()

    async def send(event: dict[str, Any]) -> None:
        async with one_at_a_time:
            if socket.application_state == WebSocketState.CONNECTED:
                with suppress(WebSocketDisconnect, RuntimeError):  # it leaves while this is sent
                    await socket.send_json(event)

    return send


async def _end(socket: WebSocket, error: SsvdError, code: int) -> None:
    """Say why, and close."""
    with suppress(WebSocketDisconnect, RuntimeError):  # the client was faster
        body = {**error_of(error)[1]["error"], "event_id": None}
        note_refusal(socket.scope, body["code"])
        await socket.send_json(server_event("error", error=body))
        await socket.close(code)
