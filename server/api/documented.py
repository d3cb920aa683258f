"""Replies in the OpenAPI document: the error in OpenAI's shape by status, and what a transcript is."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Security
from fastapi.security import HTTPBearer
from pydantic import BaseModel, ConfigDict, Field

Responses = dict[int | str, dict[str, Any]]


class ErrorDetail(BaseModel):
    """What was wrong."""

    message: str = Field(description="What is wrong, what is allowed, and the setting that changes it.")
    type: str = Field(description="As OpenAI's: `invalid_request_error`, `rate_limit_error`, `server_error`.")
    param: str | None = Field(description="The field at fault, where it is one.")
    code: str = Field(description="A word that stays the same from version to version.")


class ErrorReply(BaseModel):
    """The body of every refusal."""

    error: ErrorDetail


class Usage(BaseModel):
    """Audio that was decoded."""

    type: str
    seconds: float


class MadeBy(BaseModel):
    """What made a reply. A blend has `parts`, and `domain=auto` has `auto`."""

    model_config = ConfigDict(extra="allow")

    base: str
    base_digest: str
    domain: str | None
    adapter_version: int | None
    adapter_sha256: str | None
    decoding: list[dict[str, Any]]
    warnings: list[str]


class TranscriptionReply(BaseModel):
    """A transcript as `json`. `verbose_json` adds `task`, `language`, `duration`, `segments` and `words`."""

    model_config = ConfigDict(extra="allow")

    text: str
    usage: Usage
    ssvd: MadeBy


_WHY = {
    400: "A field is missing, repeated, unknown or malformed.",
    401: "The server asks for a key, and there is none, or an unknown or expired one.",
    403: "The key is not an admin's, or a page of another site sent the request.",
    404: "There is no such domain, model, sample or running request.",
    409: "The store does not make this change, or only with a further word, which the message names.",
    413: "The body is over SSVD_MAX_UPLOAD_BYTES or SSVD_MAX_ADAPTER_BYTES.",
    415: "The audio cannot be read, or the body is no form.",
    422: "A value is beyond a limit, or beyond what this base can do.",
    429: "Too much audio waits for the device, or a limit of the key is reached.",
    500: "An adapter or the store is damaged, or the server has a bug.",
    503: "The server stops, its device has ended, its keys or store cannot be read, or it has no room now.",
    504: "The request's time ended before it was decoded.",
    507: "The server's disk has no room for the upload, or for a change of the store.",
}
_ITS_ERROR = "HTTPValidationError"  # FastAPI's
_RETRY = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}}
_RETRIED = (429, 503)
OF_KEYS = (401, 503)
# Says that a route may need a key; the gate looks at it.
KEY: Any = Security(
    HTTPBearer(auto_error=False, description="A key of `ssvd keys add`, where the server asks for one.")
)


def refusals(*statuses: int, public: bool = False) -> Responses:
    """Return the entries of a route's refusals for the OpenAPI document.

    Those of keys are among them, unless the route is `public`.
    """
    return {
        status: {
            "model": ErrorReply,
            "description": _WHY[status],
            **({"headers": _RETRY} if status in _RETRIED else {}),
        }
        for status in sorted({*statuses, *(() if public else OF_KEYS)})
    }


class DocumentedApp(FastAPI):
    """An app whose document has no 422 that FastAPI adds to routes with parameters: the answer is a 400."""

    def openapi(self) -> dict[str, Any]:
        """See FastAPI."""
        document = super().openapi()
        for methods in document["paths"].values():
            for operation in methods.values():
                content = operation["responses"].get("422", {}).get("content", {})
                if _ITS_ERROR in str(content):
                    del operation["responses"]["422"]
        for name in (_ITS_ERROR, "ValidationError"):
            document["components"]["schemas"].pop(name, None)
        return document


def audio_file(media_types: set[str]) -> Responses:
    """Return the entry of a reply that is an audio file."""
    content = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in sorted(media_types)}
    return {200: {"description": "The clip.", "content": content}}


def transcript(*others: str) -> Responses:
    """Return the entry of a transcript: JSON, and as text of other media types."""
    content = {kind: {"schema": {"type": "string"}} for kind in others}
    return {200: {"model": TranscriptionReply, "description": "The transcript.", "content": content}}
