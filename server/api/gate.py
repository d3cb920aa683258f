"""Gate before all routes: who is the caller, may they call this route, and do they have a place?

A refused request's body is read to its end, so that its client sees the answer and not a broken pipe.
"""

from __future__ import annotations

from contextlib import ExitStack

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from server.api.access import WEBSOCKET, Access, Need, path_of
from server.api.refusals import refusal
from server.api.watch import CALLER, note_route
from server.errors import ApiError
from server.keys.caller import Caller
from server.keys.quotas import Quotas
from server.keys.ring import HOW, INVALID, KeyRing

SUBPROTOCOL_KEY = "openai-insecure-api-key."  # OpenAI's, for browsers, whose WebSockets send no headers
DENIAL = "websocket.http.response"  # the extension of ASGI by which a WebSocket is refused with a status
POLICY = 1008  # of RFC 6455
CHALLENGE = 'Bearer realm="ssvd-asr"'


class Gate:
    """ASGI middleware. Below it `caller_of` tells the caller of every route that is not public."""

    def __init__(
        self, app: ASGIApp, access: Access, ring: KeyRing, quotas: Quotas, *, metrics_public: bool
    ) -> None:
        self.app = app
        self._access, self._ring, self._quotas = access, ring, quotas
        self._metrics_public = metrics_public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer why not."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        method = scope["method"] if scope["type"] == "http" else WEBSOCKET
        path = path_of(scope)
        need = self._access.need(method, path)
        if need == "public":
            await self.app(scope, receive, send)
            return
        note_route(scope, self._access.template(path))
        if need is None or need == "nobody":
            await _answer(self._no_route(method, path, scope), scope, receive, send)
            return
        with ExitStack() as held:
            try:
                caller = scope[CALLER] = self._caller(scope, need)
                if need == "transcribe" and method in ("POST", WEBSOCKET):
                    held.enter_context(self._quotas.place(caller))
                    send = self._telling_quota(caller, send)
            except ApiError as error:
                await _answer(_refusal(error, scope), scope, receive, send)
                return
            await self.app(scope, receive, send)

    def _caller(self, scope: Scope, need: Need) -> Caller:
        """Return the caller. Raises ApiError 401 or 403 for one who may not call the route."""
        if need == "numbers" and self._metrics_public:
            return Caller(None, "transcribe", frozenset())
        caller = self._ring.caller(key_of(scope), _here(scope))
        if need == "transcribe" or caller.scope == "admin":
            return caller
        if caller.name is not None:
            raise ApiError(
                403, f"key {caller.name} has the scope {caller.scope}: this route needs admin (`ssvd keys`)",
                code="insufficient_scope",
            )  # fmt: skip
        if need == "admin":
            raise ApiError(401, f"this route needs an admin's key: {HOW}, with --scope admin", code=INVALID)
        return caller

    def _no_route(self, method: str, path: str, scope: Scope) -> JSONResponse:
        allowed = self._access.methods(path)
        if not allowed or method == WEBSOCKET:
            return refusal(ApiError(404, f"there is no {method} {path}", code="not_found"), scope)
        refused = ApiError(405, f"{path} does not take {method}", code="method_not_allowed")
        response = refusal(refused, scope)
        response.headers["Allow"] = ", ".join(allowed)
        return response

    def _telling_quota(self, caller: Caller, send: Send) -> Send:
        """Return a `send` whose replies say what is left of the caller's quota."""
        if caller.audio_s_per_hour is None:
            return send

        async def telling(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(raw=message["headers"]).update(self._quotas.headers(caller))
            await send(message)

        return telling


def caller_of(connection: HTTPConnection) -> Caller:
    """Return who makes a request or holds a WebSocket. The route must not be public."""
    caller: Caller = connection.scope[CALLER]
    return caller


def key_of(scope: Scope) -> str | None:
    """Return the key that a client sends: as `Authorization: Bearer KEY`, or as a WebSocket's subprotocol."""
    sent = Headers(scope=scope).getlist("authorization")
    scheme, _, key = sent[0].partition(" ") if len(sent) == 1 else ("", "", "")
    if scheme.lower() == "bearer" and key.strip():
        return key.strip()
    offered = (each for each in scope.get("subprotocols", ()) if each.startswith(SUBPROTOCOL_KEY))
    return next((each.removeprefix(SUBPROTOCOL_KEY) for each in offered), None)


def _here(scope: Scope) -> str | None:
    """Return the address at which a request came in."""
    server = scope.get("server")
    return None if server is None else server[0]


def _refusal(error: ApiError, scope: Scope) -> JSONResponse:
    response = refusal(error, scope)
    if error.status == 401:
        response.headers["WWW-Authenticate"] = CHALLENGE
    return response


async def _answer(response: JSONResponse, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        while True:  # BodyLimit ends a body that is too large
            message = await receive()
            if message["type"] != "http.request" or not message.get("more_body", False):
                break
        await response(scope, receive, send)
    else:
        await deny(WebSocket(scope, receive, send), response)


async def deny(socket: WebSocket, response: JSONResponse) -> None:
    """Refuse a WebSocket before it is accepted, with the reason where the web server can send one."""
    if DENIAL in socket.scope.get("extensions", {}):
        await socket.send_denial_response(response)
    else:
        await socket.close(POLICY)
