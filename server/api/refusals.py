"""Error responses in OpenAI's shape: {"error": {message, type, param, code}}."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.api.watch import note_refusal
from server.bank.loader import LoaderError
from server.configuration.limits import with_settings_named
from server.errors import (
    ApiError,
    BankFullError,
    DeadlineError,
    DrainingError,
    OutOfMemoryError,
    QueueFullError,
)
from ssvd_asr.errors import (
    AdapterError,
    AudioError,
    AudioLimitError,
    AudioTooLongError,
    AudioUnreadableError,
    BlendError,
    BlendFormError,
    ChannelError,
    KeywordError,
    LanguageError,
    SsvdError,
    StoreError,
    StoreFullError,
    StoreRefusedError,
    StoreUnreachableError,
    StoreUnwritableError,
    UnknownDomainError,
    WrongBaseError,
    WrongBasisError,
)

logger = logging.getLogger(__name__)

# (class, status, param, code). The first match counts, so a class comes before its base class.
_MEANING: tuple[tuple[type[SsvdError], int, str | None, str], ...] = (
    (UnknownDomainError, 404, "domain", "domain_not_found"),
    (BlendFormError, 422, "domain", "forms_differ"),
    (BlendError, 400, "domain", "invalid_blend"),
    (StoreUnreachableError, 503, "domain", "store_unreachable"),
    (StoreFullError, 507, "domain", "no_space"),
    (StoreUnwritableError, 500, "domain", "store_unwritable"),
    (StoreError, 500, "domain", "store_damaged"),
    (AudioTooLongError, 422, "file", "audio_too_long"),
    (AudioLimitError, 422, "file", "audio_over_limit"),
    (ChannelError, 422, "channel", "no_such_channel"),
    (AudioUnreadableError, 415, "file", "audio_unreadable"),
    (AudioError, 422, "file", "invalid_audio"),
    (LanguageError, 422, "language", "unsupported_language"),
    (KeywordError, 422, "keywords", "unsupported_keyword"),
    (QueueFullError, 429, None, "queue_full"),
    (DrainingError, 503, None, "stopping"),
    (BankFullError, 503, "domain", "bank_full"),
    (LoaderError, 503, "domain", "not_loaded"),
    (OutOfMemoryError, 503, None, "out_of_memory"),
    (DeadlineError, 504, None, "deadline_exceeded"),
    (WrongBaseError, 422, "domain", "wrong_base"),
    (WrongBasisError, 422, "domain", "wrong_basis"),
    (AdapterError, 500, "domain", "adapter_refused"),
)
# Of a busy server: warnings. The others of _MEANING with a 5xx are of its operator: errors, in one line too.
_EXPECTED = (DrainingError, BankFullError, DeadlineError, StoreUnreachableError)
_MISTAKES = ("invalid_name", "contradiction")  # codes of StoreRefusedError that no state of the store changes
MAX_MESSAGE_CHARS = 2000  # of a refusal
_UNKNOWN = (SsvdError, 500, None, "internal_error")


def _body(status: int, message: str, *, code: str, param: str | None) -> dict[str, Any]:
    """Return the error's body. The middle of a long message, which repeats what was sent, is left out."""
    if len(message) > MAX_MESSAGE_CHARS:
        half = MAX_MESSAGE_CHARS // 2
        message = f"{message[:half]} [{len(message) - 2 * half} characters left out] {message[-half:]}"
    kinds = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
    kind = kinds.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def error_of(error: SsvdError) -> tuple[int, dict[str, Any]]:
    """Return the status and the body of a refusal. Errors of the server are logged."""
    if isinstance(error, ApiError):
        return error.status, _body(error.status, str(error), code=error.code, param=error.param)
    if isinstance(error, StoreRefusedError):
        status = 400 if error.code in _MISTAKES else 409
        return status, _body(status, str(error), code=error.code, param="domain")
    meaning = next((each for each in _MEANING if isinstance(error, each[0])), _UNKNOWN)
    status, param, code = meaning[1:]
    if isinstance(error, _EXPECTED):
        logger.warning("%s", error)
    elif status >= 500:
        logger.error("%s", error, exc_info=error if meaning is _UNKNOWN else None)
    message = with_settings_named(str(error)) if isinstance(error, AudioLimitError) else str(error)
    return status, _body(status, message, code=code, param=param)


def error_response(
    status: int, message: str, *, code: str, param: str | None = None, retry_after_s: int | None = None
) -> JSONResponse:
    """Return one error in the shape that the `openai` client reads."""
    return _response(status, _body(status, message, code=code, param=param), retry_after_s)


def _response(status: int, body: dict[str, Any], retry_after_s: int | None) -> JSONResponse:
    headers = None if retry_after_s is None else {"Retry-After": str(retry_after_s)}
    return JSONResponse(body, status_code=status, headers=headers)


def refusal(error: SsvdError, scope: Scope) -> JSONResponse:
    """Return the response for an error, and note its code. Errors of the server are logged."""
    status, body = error_of(error)
    note_refusal(scope, body["error"]["code"])
    retry_after_s = {429: getattr(error, "retry_after_s", 1), 503: 1}.get(status)
    return _response(status, body, retry_after_s)


def install(app: FastAPI) -> None:
    """Add handlers that answer every exception in that shape."""
    app.add_exception_handler(SsvdError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _fault)
    app.add_middleware(_Faults)


class _Faults:
    """ASGI middleware that answers errors of the server, below that of CORS.

    Starlette answers them above all middleware, so a page of another origin could not read the reply.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except ClientDisconnect:  # no fault, and nobody to answer: see BodyLimit
            raise
        except Exception as error:
            if scope["type"] == "http" and not started:
                await (await _fault(Request(scope), error))(scope, receive, send)
            raise  # logged by uvicorn, once


async def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, SsvdError)
    return refusal(error, request.scope)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first, *others = error.errors()
    place, *names = first["loc"]  # "query" or "body"; the field; which type of several was tried
    param = names[0] if names and isinstance(names[0], str) else None  # a number: of a character
    reasons = [first["msg"], *(each["msg"] for each in others if each["loc"][1:2] == (param,))]
    if first["type"] == "json_invalid":
        reasons = [f"{first['msg']}: {first['ctx']['error']}"]
    note_refusal(request.scope, "invalid_value")
    message = f"{param or place}: {' or '.join(reasons)}"
    return error_response(400, message, code="invalid_value", param=param)


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    known = {
        404: f"there is no {request.method} {request.url.path}",
        405: f"{request.url.path} does not take {request.method}",
    }
    message = known.get(status, str(error.detail)) if error.detail == status.phrase else str(error.detail)
    malformed = status == HTTPStatus.BAD_REQUEST  # FastAPI's, for JSON that it cannot read at all
    code = "invalid_value" if malformed else status.phrase.lower().replace(" ", "_")
    note_refusal(request.scope, code)
    response = error_response(status, message, code=code)
    response.headers.update(error.headers or {})
    return response


async def _fault(request: Request, error: Exception) -> JSONResponse:
    """Answer 500 for an error of the server. Uvicorn logs the traceback after this."""
    note_refusal(request.scope, "internal_error")
    return error_response(
        500, f"the server failed: {type(error).__name__}; its log has the details", code="internal_error"
    )
