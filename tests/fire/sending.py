"""Sending of hostile cases to a server, and the check of its answers."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from urllib.parse import urlsplit

import httpx
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.fire.hostile import Heard, Refused
from tests.fire.hostile_audio import AUDIO
from tests.fire.hostile_forms import FORMS, RAW, URL
from tests.fire.hostile_frames import EVENTS, FRAMES, event
from tests.fire.metrics import numbers_of
from tests.server.fakes import TIMEOUT_S

TOLERANCE_S = 0.15  # of a duration: codecs pad


def send_audio(client: httpx.Client, name: str, **fields: str) -> None:
    """Send a file of AUDIO and check the answer."""
    case = AUDIO[name]
    judge(client.post(URL, files={"file": ("a.wav", case.make())}, data=fields), case.answer)


def send_form(client: httpx.Client, name: str) -> None:
    """Send a request of FORMS and check the answer."""
    sent = FORMS[name]
    # httpx would take ".." out of an address before it is sent.
    url = client.base_url.copy_with(raw_path=sent.path.encode())
    judge(client.request(sent.method, url, content=sent.make(), headers=sent.headers), sent.answer)


def send_raw(client: httpx.Client, name: str) -> None:
    """Send bytes of RAW and check the status."""
    make, expected = RAW[name]
    status = raw_status(client.base_url, make())
    assert status == expected or (expected is None and (status is None or 200 <= status < 500)), status


def raw_status(url: httpx.URL, data: bytes) -> int | None:
    """Return the status that answers some bytes; None where the server closes without one."""
    answer = b""
    with socket.create_connection((url.host, url.port or 80), TIMEOUT_S) as connection:
        with suppress(OSError):  # it may close before all is sent
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        with suppress(ConnectionError):
            while block := connection.recv(65_536):
                answer += block
    return int(answer.split(maxsplit=2)[1]) if answer.startswith(b"HTTP/1.1 ") else None


def send_events(client: httpx.Client, name: str) -> None:
    """Send the events of EVENTS in a session, and check that it goes on after the error."""
    case = EVENTS[name]
    with live(client) as session:
        for message in case.make():
            session.send(message)
        told = next_of(session, "error")["error"]
        assert told["code"] == case.code, told
        session.send(event("input_audio_buffer.clear", event_id="mine"))
        next_of(session, "input_audio_buffer.cleared")


def send_frames(client: httpx.Client, name: str) -> None:
    """Send the frames of FRAMES in a session, and check how it is closed."""
    make, code = FRAMES[name]
    with live(client) as session:
        session.socket.sendall(make())
        with suppress(ConnectionClosed):
            while True:
                session.recv(TIMEOUT_S)
        assert session.close_code == code, session.close_reason


def live(client: httpx.Client) -> ClientConnection:
    """Open a live session."""
    place = urlsplit(str(client.base_url)).netloc
    return connect(
        f"ws://{place}/v1/realtime?intent=transcription", max_size=None, close_timeout=TIMEOUT_S, proxy=None
    )


def next_of(session: ClientConnection, kind: str) -> dict[str, dict[str, str]]:
    """Return the next event of a kind, past those before it."""
    while True:
        found: dict[str, dict[str, str]] = json.loads(session.recv(TIMEOUT_S))
        assert found["type"] in (kind, "session.created", "session.updated"), found
        if found["type"] == kind:
            return found


def judge(response: httpx.Response, answer: Refused | Heard) -> None:
    """Check an answer, and the shape of an error."""
    body = response.json()
    if isinstance(answer, Refused):
        assert set(body) == {"error"}, body
        assert set(body["error"]) == {"message", "type", "param", "code"}
        assert (response.status_code, body["error"]["code"]) == (answer.status, answer.code), body
        assert len(response.content) < 4000, "a refusal repeats what it was sent"
        return
    assert response.status_code == 200, body
    assert abs(body["usage"]["seconds"] - answer.duration_s) <= TOLERANCE_S, body
    assert not answer.silent or body["text"] == "", body


Send = Callable[[httpx.Client, str], None]
ALL: Mapping[str, tuple[Send, Mapping[str, object]]] = {
    "audio": (send_audio, AUDIO),
    "form": (send_form, FORMS),
    "raw": (send_raw, RAW),
    "events": (send_events, EVENTS),
    "frames": (send_frames, FRAMES),
}


def numbers(client: httpx.Client) -> dict[str, float]:
    """Return the numbers of /metrics that have no labels."""
    return numbers_of(client.get("/metrics").text)
