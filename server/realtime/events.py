"""Events of a session: the client's, checked, and the server's, numbered. OpenAI's realtime API."""

from __future__ import annotations

import secrets
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from server.errors import ApiError
from server.realtime.audio_input import AudioFormat

LOGPROBS = "item.input_audio_transcription.logprobs"


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Format(_Message):
    """Format of the audio."""

    type: AudioFormat = "audio/pcm"
    rate: Literal[24_000] | None = None


class Transcription(_Message):
    """What transcribes it. Unknown members are refused, so that none is ignored."""

    model: str | None = None
    language: str | None = None
    languages: tuple[str, ...] | None = None
    prompt: str | None = None
    keywords: tuple[str, ...] | None = None


class ServerVad(_Message):
    """Turns that end with a silence."""

    type: Literal["server_vad"]
    threshold: float = Field(default=0.5, gt=0, lt=1)
    prefix_padding_ms: int = Field(default=300, ge=0, le=5000)
    silence_duration_ms: int = Field(default=500, ge=32, le=10_000)
    # About answers of a model, of which there are none here.
    create_response: bool | None = None
    interrupt_response: bool | None = None
    idle_timeout_ms: None = None


class Input(_Message):
    """Audio of the client and what becomes of it."""

    format: Format | None = None
    noise_reduction: None = None
    transcription: Transcription | None = None
    turn_detection: ServerVad | None = None


class Audio(_Message):
    """Audio of a session."""

    input: Input | None = None


class SessionChange(_Message):
    """A session as the client wants it: what is left out stays as it is."""

    type: Literal["transcription"]
    audio: Audio | None = None
    include: tuple[Literal["item.input_audio_transcription.logprobs"], ...] | None = None


class _ClientEvent(_Message):
    event_id: str | None = Field(default=None, max_length=512)


class SessionUpdate(_ClientEvent):
    """session.update"""

    type: Literal["session.update"]
    session: SessionChange


class Append(_ClientEvent):
    """input_audio_buffer.append"""

    type: Literal["input_audio_buffer.append"]
    audio: str


class Commit(_ClientEvent):
    """input_audio_buffer.commit"""

    type: Literal["input_audio_buffer.commit"]


class Clear(_ClientEvent):
    """input_audio_buffer.clear"""

    type: Literal["input_audio_buffer.clear"]


ClientEvent = SessionUpdate | Append | Commit | Clear
_CLIENT_EVENT: TypeAdapter[ClientEvent] = TypeAdapter(Annotated[ClientEvent, Field(discriminator="type")])

# member: what a refusal says of it
_ADVICE = {
    "noise_reduction": "there is none here; leave it out or send null",
    "turn_detection": "only server_vad, or null for turns that the client commits",
    "idle_timeout_ms": "not supported; leave it out",
    "delay": "not supported; deltas come as soon as two decodings agree",
}


def read_event(text: str) -> ClientEvent:
    """Return the client event of a message. Raises ApiError 400 that names the member at fault."""
    try:
        return _CLIENT_EVENT.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        names = [str(each) for each in first["loc"][1:]]  # after the event's own type
        advice = next((_ADVICE[name] for name in reversed(names) if name in _ADVICE), first["msg"])
        param = ".".join(name for name in names if name not in ("server_vad",)) or "type"
        raise ApiError(400, f"{param}: {advice}", code="invalid_value", param=param) from error


def new_id(kind: str) -> str:
    """Return an id such as "item_3f0c..." that nobody guesses."""
    return f"{kind}_{secrets.token_hex(12)}"


def server_event(kind: str, **fields: Any) -> dict[str, Any]:
    """Return an event of the server with an id of its own."""
    return {"type": kind, "event_id": new_id("event"), **fields}


def item_of(item_id: str) -> dict[str, Any]:
    """Return the conversation item of a turn."""
    content = [{"type": "input_audio", "transcript": None}]
    return {
        "id": item_id, "object": "realtime.item", "type": "message", "status": "completed", "role": "user",
        "content": content,
    }  # fmt: skip
