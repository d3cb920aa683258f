"""What a hostile client of a live session sends: events that are none, and frames that break the protocol."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from server.realtime.audio_input import MAX_APPEND_BYTES, MAX_MESSAGE_BYTES

# Codes of RFC 6455.
PROTOCOL_ERROR, NOT_TEXT, TOO_BIG = 1002, 1007, 1009
TEXT, BINARY, CLOSE, PING = 1, 2, 8, 9


@dataclass(frozen=True)
class Events:
    """Messages in order; the last is answered by an error of this code, and the session goes on."""

    make: Callable[[], Sequence[str | bytes]]
    code: str = "invalid_value"


def event(kind: str, **members: Any) -> str:
    """A client's event."""
    return json.dumps({"type": kind, **members})


def update(**members: Any) -> str:
    """An event that changes the input's settings."""
    return event("session.update", session={"type": "transcription", "audio": {"input": members}})


def append(audio: bytes | str) -> str:
    """An event with audio."""
    text = audio if isinstance(audio, str) else base64.b64encode(audio).decode()
    return event("input_audio_buffer.append", audio=text)


BY_HAND = update(turn_detection=None)

EVENTS: Mapping[str, Events] = {
    "nothing": Events(lambda: [""]),
    "no JSON": Events(lambda: ["hello"]),
    "bytes": Events(lambda: [bytes(range(256))]),
    "JSON of another kind": Events(lambda: ["[]"]),
    "JSON of 100000 brackets": Events(lambda: ["[" * 100_000]),
    "a number of 100000 digits": Events(lambda: ['{"type": ' + "9" * 100_000 + "}"]),
    "an unknown event": Events(lambda: [event("response.create")]),
    "an event without a type": Events(lambda: ["{}"]),
    "an event with more members": Events(lambda: [event("input_audio_buffer.clear", more=1)]),
    "a member given twice": Events(
        lambda: ['{"type": "input_audio_buffer.clear", "event_id": "a", "event_id": "b"}']
    ),
    "an id of 10 kB": Events(lambda: [event("input_audio_buffer.clear", event_id="a" * 10_000)]),
    "half a surrogate": Events(lambda: ['{"type": "input_audio_buffer.append", "audio": "\\ud800"}']),
    "audio that is no base64": Events(lambda: [append("@@@@")], "invalid_audio"),
    "audio with spaces": Events(lambda: [append("AA AA")], "invalid_audio"),
    "audio over OpenAI's limit": Events(lambda: [append(bytes(MAX_APPEND_BYTES + 2))], "invalid_audio"),
    "audio that is a number": Events(lambda: [event("input_audio_buffer.append", audio=5)]),
    "more audio than a turn": Events(lambda: [BY_HAND, append(bytes(48_000 * 9))], "input_audio_buffer_full"),
    "a commit of nothing": Events(
        lambda: [BY_HAND, event("input_audio_buffer.commit")], "input_audio_buffer_commit_empty"
    ),
    "a format of another rate": Events(lambda: [update(format={"type": "audio/pcm", "rate": 10**9})]),
    "an unknown format": Events(lambda: [update(format={"type": "audio/opus"})]),
    "a threshold that is no number": Events(
        lambda: [update(turn_detection={"type": "server_vad", "threshold": float("nan")})]
    ),
    "a silence of 10^12 ms": Events(
        lambda: [update(turn_detection={"type": "server_vad", "silence_duration_ms": 10**12})]
    ),
    "a model that is a path": Events(lambda: [update(transcription={"model": "../../x"})], "model_not_found"),
    "1000 languages": Events(
        lambda: [update(transcription={"languages": ["klingon"] * 1000})], "unsupported_language"
    ),
    "301 keywords": Events(
        lambda: [update(transcription={"keywords": [f"word{n}" for n in range(301)]})], "unsupported_keyword"
    ),
    "a prompt over the limit": Events(
        lambda: [update(transcription={"prompt": "word " * 1000})], "prompt_too_long"
    ),
}


def frame(opcode: int, body: bytes, *, last: bool = True, masked: bool = True, reserved: int = 0) -> bytes:
    """A frame of a client; reserved: the three reserved bits."""
    first = (0x80 if last else 0) | reserved << 4 | opcode
    mask = 0x80 if masked else 0
    size = len(body)
    if size < 126:
        head = bytes([first, mask | size])
    elif size < 2**16:
        head = bytes([first, mask | 126]) + struct.pack(">H", size)
    else:
        head = bytes([first, mask | 127]) + struct.pack(">Q", size)
    return head + (bytes(4) if masked else b"") + body  # a mask of zeros leaves the body as it is


def claim(size: int) -> bytes:
    """The beginning of a message of so many bytes."""
    return bytes([0x81, 0xFF]) + struct.pack(">Q", size) + bytes(100)


def bomb() -> bytes:
    """A compressed message of 64 MiB in 64 kB."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(bytes(64 * 2**20)) + packer.flush(zlib.Z_SYNC_FLUSH)
    return frame(TEXT, packed.removesuffix(b"\0\0\xff\xff"), reserved=4)


# Frames, and the code with which the server closes.
FRAMES: Mapping[str, tuple[Callable[[], bytes], int]] = {
    "text that is not UTF-8": (lambda: frame(TEXT, b"\xff\xfe"), NOT_TEXT),
    "a frame without a mask": (lambda: frame(TEXT, b"{}", masked=False), PROTOCOL_ERROR),
    "an unknown opcode": (lambda: frame(5, b"{}"), PROTOCOL_ERROR),
    "reserved bits": (lambda: frame(TEXT, b"{}", reserved=3), PROTOCOL_ERROR),
    "a ping of 200 bytes": (lambda: frame(PING, bytes(200)), PROTOCOL_ERROR),
    "a ping in two parts": (lambda: frame(PING, b"a", last=False), PROTOCOL_ERROR),
    "a continuation of nothing": (lambda: frame(0, b"{}"), PROTOCOL_ERROR),
    "a message within another": (lambda: frame(TEXT, b"{", last=False) + frame(TEXT, b"}"), PROTOCOL_ERROR),
    "a close of one byte": (lambda: frame(CLOSE, b"\x03"), PROTOCOL_ERROR),
    "a close of a forbidden code": (lambda: frame(CLOSE, struct.pack(">H", 1005)), PROTOCOL_ERROR),
    "a claim of 2^63 bytes": (lambda: claim(2**63 - 1), TOO_BIG),
    "a message over the limit": (lambda: claim(MAX_MESSAGE_BYTES + 1), TOO_BIG),
    "a compressed bomb": (bomb, TOO_BIG),
}
