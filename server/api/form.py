"""Multipart form of POST /v1/audio/transcriptions: OpenAI's fields and `domain`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal, get_args

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import FormData
from starlette.datastructures import UploadFile as FormFile

from server.api import chunking
from server.api.chunking import ServerVad
from server.api.multipart import read_form
from server.auto.wish import MODES, Mode
from server.errors import ApiError
from ssvd_asr.audio.read import Channel, parse_channel
from ssvd_asr.audio.segment import CutRule
from ssvd_asr.errors import ChannelError

MAX_FIELDS = 32
MAX_FILES = 2  # one more than is transcribed, so that the refusal can name the field
MAX_FIELD_BYTES = 64 * 1024
LISTS = ("timestamp_granularities", "include")  # OpenAI's clients send them as name[]

ResponseFormat = Literal["json", "text", "srt", "verbose_json", "vtt"]
FORMATS: tuple[ResponseFormat, ...] = get_args(ResponseFormat)
UNTIMED: tuple[ResponseFormat, ...] = ("json", "text")
GRANULARITIES = ("word", "segment")


class TranscriptionForm(BaseModel):
    """The fields besides the file. Some accept one value only, for clients that always send them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str | None = Field(
        default=None, description="`<base>` or `<base>:<domain>`; left out, the base served here."
    )
    domain: str | None = Field(
        default=None,
        description="`child`, `child@2`, `child@sha256:<digest>`, `child*0.8+scottish*0.8`, or `auto`.",
    )
    auto: str | None = Field(
        default=None,
        description="With `domain=auto`: `full`, or `fast`, which compares no transcripts.",
    )
    language: str | None = Field(default=None, description="As `en`, `eng`, `en-US`, `english` or `auto`.")
    response_format: str = Field(
        default="json", description="`json`, `text`, `srt`, `vtt` or `verbose_json`."
    )
    temperature: float = Field(default=0.0, description="Only 0: decoding draws nothing at random.")
    prompt: str = Field(default="", description="What was said before the audio, as text.")
    stream: bool = Field(default=False, description="Not supported yet.")
    timestamp_granularities: tuple[str, ...] = Field(
        default=(), description="`word`, `segment` or both; with `verbose_json` only."
    )
    include: tuple[str, ...] = Field(default=(), description="Not supported yet.")
    channel: str = Field(
        default="mix",
        description="The number of one channel of the file, from 0; `mix`; or `each`, transcribed apart.",
    )
    chunking_strategy: ServerVad | str = Field(
        default="auto",
        union_mode="left_to_right",  # so that the first error is about the member, not about a missing text
        description="How audio is cut at silences: `auto`, or `server_vad` by `chunking_strategy[type]`.",
    )

    @property
    def format(self) -> ResponseFormat:
        """The response format, checked by `parse`."""
        return self.response_format  # type: ignore[return-value]  # narrowed by _UNSUPPORTED

    @property
    def auto_mode(self) -> Mode:
        """How the domain is chosen, checked by `parse`."""
        return self.auto or MODES[0]  # type: ignore[return-value]  # narrowed by _UNSUPPORTED

    @property
    def granularities(self) -> tuple[str, ...]:
        """The times that `verbose_json` lists. Without any named, as with OpenAI, those of segments."""
        return self.timestamp_granularities or ("segment",)

    @property
    def chosen_channel(self) -> Channel:
        """The channel, checked by `parse`."""
        return parse_channel(self.channel)

    @property
    def cut_rule(self) -> CutRule | None:
        """How the audio is cut at silences; None leaves it to the base."""
        return self.chunking_strategy.rule if isinstance(self.chunking_strategy, ServerVad) else None


# field: (supported values, advice for the error message)
_UNSUPPORTED: Mapping[str, tuple[tuple[Any, ...], str]] = {
    "auto": ((None, *MODES), f"use {' or '.join(MODES)}"),
    "response_format": (FORMATS, f"use one of {', '.join(FORMATS)}"),
    "temperature": ((0.0,), "decoding draws nothing at random; leave it out or send 0"),
    "stream": ((False,), "the answer comes whole; leave it out or send false"),
    "include": (((),), "nothing more can be included; leave it out"),
}


@asynccontextmanager
async def open_form(request: Request) -> AsyncIterator[tuple[FormFile, TranscriptionForm]]:
    """Read and check a request's form. The file is open within the block.

    Raises ApiError: as read_form does; 400 for a missing, repeated, unknown or malformed field;
    422 for a value that OpenAI supports and this server does not.
    """
    if request.query_params:
        name = next(iter(request.query_params))
        raise _bad(name, "stands in the address; the fields of this request go into its form")
    form = await read_form(
        request, max_files=MAX_FILES, max_fields=MAX_FIELDS, max_field_bytes=MAX_FIELD_BYTES
    )
    try:
        file, fields = _split(form)
        yield file, parse(fields)
    finally:
        await form.close()


def _split(form: FormData) -> tuple[FormFile, dict[str, Any]]:
    """Return the file and the other fields. A field that is not in LISTS may occur once.

    An empty field counts as absent: forms in browsers and scripts send those that nobody filled in.
    """
    file: FormFile | None = None
    fields: dict[str, Any] = {}
    for key, value in form.multi_items():
        name = key.removesuffix("[]")
        if name == "file":
            assert isinstance(value, FormFile)  # read_form refuses text
            if file is not None:
                raise _bad("file", "is given twice; a request transcribes one file")
            if value.size == 0:
                raise ApiError(415, "file is empty: it has 0 bytes", code="audio_unreadable", param="file")
            file = value
        elif isinstance(value, FormFile):
            raise _bad(name, "is a file; the only file is called file")
        elif not value:
            continue
        elif (member := chunking.member_of(key)) is not None:
            members = fields.setdefault(chunking.FIELD, {})
            if not isinstance(members, dict) or member in members:
                raise _bad(key, "is given twice")
            members[member] = value
        elif name in LISTS:
            fields.setdefault(name, []).append(value)
        elif name in fields:
            raise _bad(name, "is given twice")
        else:
            fields[name] = value
    if file is None:
        raise _bad("file", "is missing")
    return file, fields


def parse(fields: Mapping[str, Any]) -> TranscriptionForm:
    """Check the fields besides the file. Raises as `open_form` does."""
    try:
        form = TranscriptionForm.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0])
        known = ["file", *TranscriptionForm.model_fields]
        if isinstance(fields.get(name), dict):  # loc: the field, ServerVad, the member
            name = f"{name}[{first['loc'][-1]}]"
            known = [f"{chunking.FIELD}[{member}]" for member in ServerVad.model_fields]
        if first["type"] == "extra_forbidden":
            raise _bad(name, f"is not a field of this request; there are {', '.join(known)}") from error
        if first["type"] == "missing":
            raise _bad(name, "is missing") from error
        raise _bad(name, f"is {first['input']!r}: {first['msg']}") from error
    if form.chunking_strategy != "auto" and not isinstance(form.chunking_strategy, ServerVad):
        raise ApiError(
            422,
            f"chunking_strategy={form.chunking_strategy!r} is not supported: "
            "use auto, or chunking_strategy[type]=server_vad",
            code="unsupported_value",
            param=chunking.FIELD,
        )
    try:
        parse_channel(form.channel)
    except ChannelError as error:
        raise ApiError(400, str(error), code="invalid_value", param="channel") from error
    for name, (supported, advice) in _UNSUPPORTED.items():
        value = getattr(form, name)
        if value not in supported:
            shown = list(value) if isinstance(value, tuple) else value
            raise ApiError(
                422, f"{name}={shown!r} is not supported: {advice}", code="unsupported_value", param=name
            )
    _check_granularities(form)
    return form


def _check_granularities(form: TranscriptionForm) -> None:
    """Raise ApiError for unknown granularities, and for any in a format that does not list times."""
    shown = list(form.timestamp_granularities)
    unknown = [value for value in shown if value not in GRANULARITIES]
    if not shown or (not unknown and form.format == "verbose_json"):
        return
    advice = f"use {' or '.join(GRANULARITIES)}" if unknown else "only response_format=verbose_json has them"
    raise ApiError(
        422, f"timestamp_granularities={shown!r} is not supported: {advice}",
        code="unsupported_value", param="timestamp_granularities",
    )  # fmt: skip


def request_schema() -> dict[str, Any]:
    """Return the form's entry for the OpenAPI document. FastAPI cannot derive it from the route."""
    schema = TranscriptionForm.model_json_schema()
    schema["properties"] = {"file": {"type": "string", "format": "binary"}, **schema["properties"]}
    schema["required"] = ["file"]
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


def _bad(name: str, what: str) -> ApiError:
    return ApiError(400, f"{name} {what}", code="invalid_value", param=name)
