"""Reading of a request's multipart form: its file, and its fields, checked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Request
from pydantic import ValidationError
from starlette.datastructures import FormData
from starlette.datastructures import UploadFile as FormFile

from server.api import chunking
from server.api.chunking import ServerVad
from server.api.form import FORMATS, GRANULARITIES, SUBTITLES, AudioForm, TranscriptionForm
from server.api.multipart import bad_field, read_form
from server.auto.wish import MODES
from server.errors import ApiError
from ssvd_asr.audio.read import parse_channel
from ssvd_asr.decoding.keywords import MAX_KEYWORDS
from ssvd_asr.errors import ChannelError

MAX_FIELDS = 32 + 2 * MAX_KEYWORDS  # so that the refusal of too many keywords can say so
MAX_FILES = 2  # one more than is transcribed, so that the refusal can name the field
MAX_FIELD_BYTES = 64 * 1024
# OpenAI's clients send them as name[].
LISTS = ("timestamp_granularities", "include", "languages", "keywords", "known_speaker_names",
         "known_speaker_references")  # fmt: skip

_SPEAKERS = "speakers are not told apart here; channel=each transcribes each channel of the file apart"
# field: (supported values, advice for the error message)
_UNSUPPORTED: Mapping[str, tuple[tuple[Any, ...], str]] = {
    "auto": ((None, *MODES), f"use {' or '.join(MODES)}"),
    "temperature": ((0.0,), "decoding draws nothing at random; leave it out or send 0"),
    "include": (((), ("logprobs",)), "use logprobs, once"),
    "known_speaker_names": (((),), _SPEAKERS),
    "known_speaker_references": (((),), _SPEAKERS),
}
DIARIZED = "diarized_json"


@asynccontextmanager
async def open_form[F: AudioForm](request: Request, kind: type[F]) -> AsyncIterator[tuple[FormFile, F]]:
    """Read and check a request's form of this kind. The file is open within the block.

    Raises ApiError: as read_form does; 400 for a missing, repeated, unknown or malformed field;
    422 for a value that OpenAI supports and this server does not.
    """
    if request.query_params:
        name = next(iter(request.query_params))
        raise bad_field(name, "stands in the address; the fields of this request go into its form")
    form = await read_form(
        request, max_files=MAX_FILES, max_fields=MAX_FIELDS, max_field_bytes=MAX_FIELD_BYTES
    )
    try:
        file, fields = _split(form)
        yield file, parse(fields, kind)
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
                raise bad_field("file", "is given twice; a request transcribes one file")
            if value.size == 0:
                raise ApiError(415, "file is empty: it has 0 bytes", code="audio_unreadable", param="file")
            file = value
        elif isinstance(value, FormFile):
            raise bad_field(name, "is a file; the only file is called file")
        elif not value:
            continue
        elif (member := chunking.member_of(key)) is not None:
            members = fields.setdefault(chunking.FIELD, {})
            if not isinstance(members, dict):
                raise bad_field(key, f"is given beside {chunking.FIELD} as a whole; give one of both")
            if member in members:
                raise bad_field(key, "is given twice")
            members[member] = value
        elif name in LISTS:
            fields.setdefault(name, []).append(value)
        elif name in fields:
            raise bad_field(name, "is given twice")
        else:
            fields[name] = value
    if file is None:
        raise bad_field("file", "is missing")
    return file, fields


def parse[F: AudioForm](fields: Mapping[str, Any], kind: type[F]) -> F:
    """Check the fields besides the file. Raises as `open_form` does."""
    try:
        form = kind.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0])
        known = ["file", *kind.model_fields]
        if isinstance(fields.get(name), dict):  # loc: the field, ServerVad, the member
            name = f"{name}[{first['loc'][-1]}]"
            known = [f"{chunking.FIELD}[{member}]" for member in ServerVad.model_fields]
        if first["type"] == "extra_forbidden":
            raise bad_field(name, f"is not a field of this request; there are {', '.join(known)}") from error
        if first["type"] == "missing":
            raise bad_field(name, "is missing") from error
        raise bad_field(name, f"is {first['input']!r}: {first['msg']}") from error
    if form.chunking_strategy != "auto" and not isinstance(form.chunking_strategy, ServerVad):
        raise _unsupported(
            chunking.FIELD, form.chunking_strategy, "use auto, or chunking_strategy[type]=server_vad"
        )
    if form.response_format not in FORMATS:
        other = _SPEAKERS if form.response_format == DIARIZED else f"use one of {', '.join(FORMATS)}"
        raise _unsupported("response_format", form.response_format, other)
    if form.language is not None and form.languages:
        raise ApiError(
            400, "language and languages are both given; name one of them", code="contradiction",
            param="languages",
        )  # fmt: skip
    try:
        parse_channel(form.channel)
    except ChannelError as error:
        raise ApiError(400, str(error), code="invalid_value", param="channel") from error
    for name, (supported, advice) in _UNSUPPORTED.items():
        value = getattr(form, name, supported[0])
        if value not in supported:
            raise _unsupported(name, value, advice)
    if isinstance(form, TranscriptionForm):
        _check_extras(form)
    return form


def _check_extras(form: TranscriptionForm) -> None:
    """Raise ApiError for fields that do not go with the format or the channels."""
    _check_granularities(form)
    if form.include and form.format != "json":
        raise _unsupported("include", form.include, "only response_format=json has log-probabilities")
    if form.stream and form.format in SUBTITLES:
        raise _unsupported("stream", True, f"its events are JSON, response_format={form.format} comes whole")
    if form.chosen_channel == "each" and (form.stream or form.include):
        name = "stream" if form.stream else "include"
        raise _unsupported(
            name, getattr(form, name), "with channel=each the channels' texts are put together"
        )


def _unsupported(name: str, value: Any, advice: str) -> ApiError:
    shown = list(value) if isinstance(value, tuple) else value
    return ApiError(422, f"{name}={shown!r} is not supported: {advice}", code="unsupported_value", param=name)


def _check_granularities(form: TranscriptionForm) -> None:
    """Raise ApiError for unknown granularities, and for any in a format that does not list times."""
    shown = list(form.timestamp_granularities)
    unknown = [value for value in shown if value not in GRANULARITIES]
    if not shown or (not unknown and form.format == "verbose_json"):
        return
    advice = f"use {' or '.join(GRANULARITIES)}" if unknown else "only response_format=verbose_json has them"
    raise _unsupported("timestamp_granularities", form.timestamp_granularities, advice)
