"""Events of a session: the client's, checked, and the server's, numbered. OpenAI's realtime API."""

from __future__ import annotations

import secrets
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from server.errors import ApiError
from server.realtime.audio_input import AudioFormat
from server.repeated_keys import repeated_key

MAX_EVENT_ID = 512  # characters
LOGPROBS = "item.input_audio_transcription.logprobs"


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Format(_Message):
    """Format of the audio."""

    type: AudioFormat = "audio/pcm"
    rate: Literal[24_000] | None = None

    @model_validator(mode="after")
    def _rate_of_its_type(self) -> Format:
        """Refuse a rate that the type does not have: ignored, it would be heard at another speed."""
        if self.rate is not None and self.type != "audio/pcm":
            raise ValueError(f"{self.type} has 8000 Hz and no rate; leave it out")
        return self


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
    event_id: str | None = Field(default=None, max_length=MAX_EVENT_ID)


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
_ANY: TypeAdapter[Any] = TypeAdapter(Any)
_CLIENT_EVENT: TypeAdapter[ClientEvent] = TypeAdapter(Annotated[ClientEvent, Field(discriminator="type")])

# member: what a refusal says of it
_ADVICE = {
    "noise_reduction": "there is none here; leave it out or send null",
    "turn_detection": "only server_vad, or null for turns that the client commits",
    "idle_timeout_ms": "not supported; leave it out",
    "delay": "not supported; deltas come as soon as two decodings agree",
}


def read_event(text: str) -> ClientEvent:
    """Return the client event of a message. Raises EventError that names the member at fault."""
    try:
        event = _CLIENT_EVENT.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        names = [str(each) for each in first["loc"][1:]]  # after the event's own type
        if first["type"] == "json_invalid":
            raise EventError(f"the message is no event: {first['msg']}", "type", None) from error
        param = ".".join(names) or "type"
        advice = _advice(names) or first["msg"]
        raise EventError(f"{param}: {advice}", param, _event_id_of(text)) from error
    if (key := repeated_key(text)) is not None:
        raise EventError(f"{key} is given twice", key, event.event_id)
    return event


def _advice(names: list[str]) -> str | None:
    """Return the advice on the member at fault. That on turn_detection is of its type, not of its members."""
    member = names[-1] if names else ""
    if names[-2:] == ["turn_detection", "type"]:
        member = "turn_detection"
    return _ADVICE.get(member)


def _event_id_of(text: str) -> str | None:
    """Return the event_id of a message that is JSON, but no event."""
    message = _ANY.validate_json(text)
    found = message.get("event_id") if isinstance(message, dict) else None
    return found if isinstance(found, str) and len(found) <= MAX_EVENT_ID else None


class EventError(ApiError):
    """A message that is no event of a client. event_id: its own, where it has one."""

    def __init__(self, message: str, param: str, event_id: str | None) -> None:
        super().__init__(400, message, code="invalid_value", param=param)
        self.event_id = event_id


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
