"""Watch over requests: each is counted and logged with its outcome, and has an id that its answer names.

The log has one line a request. It never has the text, the prompt, keywords, names of files or keys.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adapters_store.names import BASE, BLEND, OTHER
from server.engine.messages import Reply, Timing
from server.logs import NONE, request_id
from server.tally import AUDIO_SECONDS, REQUEST_SECONDS, REQUESTS, Tally
from server.traces import Stage, Traces

logger = logging.getLogger("server.requests")

CLIENT_LEFT = 499  # for logs and numbers only, as in nginx: the client is gone, and nothing was answered
SWITCHING = 101  # of a WebSocket that was accepted
HEADER = "X-Request-ID"
CALLER = "ssvd_caller"  # in a scope: whose key it is, an object with a name
_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
NOTES = "ssvd_notes"  # in a scope: what is known of a request, see `note_reply`
PROBES = frozenset({"/healthz", "/readyz", "/metrics"})  # asked every few seconds: for debugging only


class Watch:
    """ASGI middleware over all others."""

    def __init__(self, app: ASGIApp, traces: Traces | None = None) -> None:
        self.app = app
        self.traces = traces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on. WebSockets are logged at their end, and counted by their turns."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        notes: dict[str, Any] = {"id": _id_of(scope)}
        scope[NOTES] = notes
        token = request_id.set(notes["id"])
        began_s = time.monotonic()

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                notes["status"] = message["status"]
                MutableHeaders(raw=message["headers"])[HEADER] = notes["id"]
            elif message["type"] == "websocket.accept":
                notes["status"] = SWITCHING
            elif message["type"] == "websocket.close":
                notes.setdefault("status", 403)  # closed before it was accepted
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except Exception:
            notes.setdefault("status", 500)
            raise
        finally:
            notes.setdefault("status", CLIENT_LEFT)
            whole = Stage("request", began_s, time.monotonic())
            took_s = whole.ended_s - began_s
            state = getattr(scope["app"].state, "ssvd", None) if "app" in scope else None
            if state is not None and scope["type"] == "http":
                self._count(state.engine.tally, scope, notes, took_s)
            line = _line_of(scope, notes, took_s)
            _log(line)
            if self.traces is not None:
                self.traces.add(Headers(scope=scope), line, whole, _stages_of(notes, whole.ended_s))
            request_id.reset(token)

    @staticmethod
    def _count(tally: Tally, scope: Scope, notes: dict[str, Any], took_s: float) -> None:
        route, status = _route_of(scope), str(notes["status"])
        domain = tally.label(notes.get("domain", ""))
        tally.add(REQUESTS, 1, route, status, domain, notes.get("code", ""))
        tally.add(REQUEST_SECONDS, took_s, route, status, domain)
        if "audio_s" in notes:
            tally.add(AUDIO_SECONDS, notes["audio_s"], status, domain)


class _Line(dict[str, Any]):
    """The fields of a line of the log: members of a JSON log's object, or a text."""

    def __str__(self) -> str:
        told = (f"{name}={NONE if value is None else value}" for name, value in self.items())
        return " ".join(told)


def _log(line: _Line) -> None:
    succeeds = line["route"] in PROBES and line["status"] == 200
    logger.log(logging.DEBUG if succeeds else logging.INFO, line)


def _line_of(scope: Scope, notes: dict[str, Any], took_s: float) -> _Line:
    timing: Timing | None = notes.get("timing")
    return _Line(
        method=scope.get("method", "WEBSOCKET"),
        route=_route_of(scope),
        status=notes["status"],
        code=notes.get("code"),
        key=getattr(scope.get(CALLER), "name", None),
        domain=notes.get("domain"),
        digest=notes.get("digest"),
        audio_s=_rounded(notes.get("audio_s")),
        queue_s=_rounded(None if timing is None else timing.begun_s - timing.queued_s),
        decode_s=_rounded(None if timing is None else timing.device_s),
        total_s=_rounded(took_s),
    )


def _stages_of(notes: dict[str, Any], ended_s: float) -> list[Stage]:
    """Return the stages of a request's work that are known."""
    stages: list[Stage] = notes.get("stages", [])
    timing: Timing | None = notes.get("timing")
    if timing is None:
        return stages
    return [
        *stages,
        Stage("queue", timing.queued_s, timing.begun_s),
        Stage("device", timing.begun_s, timing.decoded_s),
        Stage("reply", timing.decoded_s, ended_s),
    ]


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 4)


def _route_of(scope: Scope) -> str:
    """Return the pattern of a request's path, in which no name of a client stands."""
    # OTHER: a route that does not exist
    return getattr(scope.get("route"), "path", None) or scope.get(NOTES, {}).get("route") or OTHER


def note_reply(scope: Scope, reply: Reply) -> None:
    """Note what a request was answered with."""
    notes = scope.get(NOTES)
    if notes is not None:
        notes["domain"] = domain_label(reply)
        notes["digest"] = reply.provenance.adapter_sha256
        notes["audio_s"] = reply.duration_s * max(1, len(reply.channels))
        notes["timing"] = reply.timing


def note_stage(scope: Scope, name: str, began_s: float) -> None:
    """Note a part of a request's work that ends now. began_s: of time.monotonic()."""
    notes = scope.get(NOTES)
    if notes is not None:
        notes.setdefault("stages", []).append(Stage(name, began_s, time.monotonic()))


def note_refusal(scope: Scope, code: str) -> None:
    """Note why a request was refused."""
    notes = scope.get(NOTES)
    if notes is not None:
        notes["code"] = code


def note_client_left(scope: Scope) -> None:
    """Note that the client left within its answer, whose status it may have seen."""
    notes = scope.get(NOTES)
    if notes is not None:
        notes["status"] = CLIENT_LEFT


def note_route(scope: Scope, template: str | None) -> None:
    """Note the route of a request that is refused before the router has seen it."""
    notes = scope.get(NOTES)
    if notes is not None:
        notes["route"] = template


def domain_label(reply: Reply) -> str:
    """Return the domain of a reply as a label: there are endless blends, so they share one."""
    made_by = reply.provenance
    return BLEND if made_by.parts else made_by.domain or BASE


def _id_of(scope: Scope) -> str:
    """Return the client's id for its request if it is fit for a log, else a new one."""
    given = Headers(scope=scope).get(HEADER, "")
    return given if _ID.fullmatch(given) else secrets.token_hex(12)
