"""Watch over requests: each is counted with its outcome, and has an id that its answer names."""

from __future__ import annotations

import re
import secrets
from time import perf_counter
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.engine.messages import Reply
from server.tally import AUDIO_SECONDS, OTHER, REQUEST_SECONDS, REQUESTS, Tally

CLIENT_LEFT = 499  # for logs and numbers only, as in nginx: the client is gone, and nothing was answered
HEADER = "X-Request-ID"
_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
NOTES = "ssvd_notes"  # in a scope: what is known of a request, see `note_reply`


class Watch:
    """ASGI middleware over all others."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on. WebSockets are counted by their turns."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        notes: dict[str, Any] = {"id": _id_of(scope)}
        scope[NOTES] = notes
        began = perf_counter()

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                notes["status"] = message["status"]
                MutableHeaders(raw=message["headers"])[HEADER] = notes["id"]
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except Exception:
            notes.setdefault("status", 500)
            raise
        finally:
            notes.setdefault("status", CLIENT_LEFT)
            state = getattr(scope["app"].state, "ssvd", None) if "app" in scope else None
            if state is not None:
                self._count(state.engine.tally, scope, notes, perf_counter() - began)

    @staticmethod
    def _count(tally: Tally, scope: Scope, notes: dict[str, Any], took_s: float) -> None:
        route = getattr(scope.get("route"), "path", None) or notes.get("route") or OTHER
        domain = tally.label(notes.get("domain", ""))
        tally.add(REQUESTS, 1, route, str(notes["status"]), domain, notes.get("code", ""))
        tally.add(REQUEST_SECONDS, took_s, route, domain)
        if "audio_s" in notes:
            tally.add(AUDIO_SECONDS, notes["audio_s"], domain)


def note_reply(scope: Scope, reply: Reply) -> None:
    """Note what a request was answered with."""
    notes = scope.get(NOTES)
    if notes is not None:
        notes["domain"] = domain_label(reply)
        notes["audio_s"] = reply.duration_s * max(1, len(reply.channels))


def note_refusal(scope: Scope, code: str) -> None:
    """Note why a request was refused."""
    notes = scope.get(NOTES)
    if notes is not None:
        notes["code"] = code


def note_route(scope: Scope, template: str | None) -> None:
    """Note the route of a request that is refused before the router has seen it."""
    notes = scope.get(NOTES)
    if notes is not None:
        notes["route"] = template


def domain_label(reply: Reply) -> str:
    """Return the domain of a reply as a label: there are endless blends, so they share one."""
    made_by = reply.provenance
    return "blend" if made_by.parts else made_by.domain or "base"


def _id_of(scope: Scope) -> str:
    """Return the client's id for its request if it is fit for a log, else a new one."""
    given = Headers(scope=scope).get(HEADER, "")
    return given if _ID.fullmatch(given) else secrets.token_hex(12)
