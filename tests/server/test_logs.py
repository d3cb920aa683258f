"""The log has a line a request, and nothing of what a client sent or heard."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from server import logs
from server.api import transcriptions
from server.app import create_app
from server.configuration.operating import LogFormat
from server.engine.engine import Engine
from server.logs import formatter
from server.settings import ServerSettings
from tests.server.api.test_transcriptions import post
from tests.server.fakes import FakeRecogniser
from tests.server.keys.making import bearer, make_key

ROUTE = "/v1/audio/transcriptions"
Written = Callable[[LogFormat], io.StringIO]


@pytest.fixture
def written() -> Iterator[Written]:
    """Return what is logged, in a form."""
    handlers: list[logging.Handler] = []
    ours = logging.getLogger("server")
    before = ours.level

    def to(kind: LogFormat) -> io.StringIO:
        stream = io.StringIO()
        handler = logging.StreamHandler(stream)
        handler.addFilter(logs.add_request_id)
        handler.setFormatter(formatter(kind))
        ours.addHandler(handler)
        ours.setLevel(logging.INFO)
        handlers.append(handler)
        return stream

    yield to
    ours.setLevel(before)
    for handler in handlers:
        ours.removeHandler(handler)


def lines(stream: io.StringIO, route: str = ROUTE) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in stream.getvalue().splitlines()]
    return [each for each in found if each.get("route") == route]


def test_a_request_is_one_object_with_its_outcome(client: TestClient, clip: bytes, written: Written) -> None:
    stream = written("json")
    sent = {"X-Request-ID": "mine"}
    files = {"file": ("secret-name.wav", clip)}
    data = {"domain": "child", "prompt": "secret prompt", "keywords[]": "secret keyword"}
    answer = client.post(ROUTE, files=files, data=data, headers=sent)
    (line,) = lines(stream)
    told = [line[name] for name in ("method", "status", "code", "key", "domain", "audio_s")]
    assert told == ["POST", 200, None, None, "child", 2.0]
    assert line["request_id"] == "mine"
    assert line["digest"] == answer.json()["ssvd"]["adapter_sha256"]
    assert line["level"] == "INFO"
    assert line["time"]
    assert 0 <= line["queue_s"] + line["decode_s"] <= line["total_s"] + 1e-3
    for secret in ("secret", answer.json()["text"]):
        assert secret not in stream.getvalue()


def test_a_text_log_has_the_same_in_a_line(client: TestClient, clip: bytes, written: Written) -> None:
    stream = written("text")
    post(client, clip, domain="child")
    (line,) = [each for each in stream.getvalue().splitlines() if "server.requests" in each]
    assert f"method=POST route={ROUTE} status=200 code=- key=- domain=child digest=" in line


def test_refusals_and_streams_are_logged_too(client: TestClient, clip: bytes, written: Written) -> None:
    stream = written("json")
    post(client, clip, domain="klingon")
    post(client, clip, stream="true")
    client.get("/nothing/secret")
    refused, streamed = lines(stream)
    assert (refused["status"], refused["code"], refused["domain"]) == (404, "domain_not_found", None)
    assert (streamed["status"], streamed["domain"], streamed["audio_s"]) == (200, "base", 2.0)
    assert [each["status"] for each in lines(stream, "other")] == [404]
    assert "klingon" not in stream.getvalue()
    assert "secret" not in stream.getvalue()


def test_probes_are_not_logged(client: TestClient, engine: Engine, written: Written) -> None:
    stream = written("json")
    for path in ("/healthz", "/readyz", "/metrics"):
        client.get(path)
    assert stream.getvalue() == ""
    engine.drain()
    client.get("/readyz")
    assert [each["status"] for each in lines(stream, "/readyz")] == [503]


def test_a_live_session_is_logged_at_its_end(client: TestClient, written: Written) -> None:
    stream = written("json")
    with client.websocket_connect("/v1/realtime?intent=transcription") as session:
        session.receive_json()
        assert lines(stream, "/v1/realtime") == []
    (line,) = lines(stream, "/v1/realtime")
    assert (line["method"], line["status"]) == ("WEBSOCKET", 101)


def test_what_is_logged_for_a_request_in_its_threads_has_its_id(
    client: TestClient, clip: bytes, written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = written("json")
    submit = transcriptions._submit

    def told(*given: Any) -> Any:
        logging.getLogger("server.test").warning("in a thread")
        return submit(*given)

    monkeypatch.setattr(transcriptions, "_submit", told)
    client.post(ROUTE, files={"file": ("a.wav", clip)}, headers={"X-Request-ID": "mine"})
    (line,) = [json.loads(each) for each in stream.getvalue().splitlines() if "in a thread" in each]
    assert line["request_id"] == "mine"


def test_the_owner_of_a_key_is_named_and_the_key_is_not(
    settings: ServerSettings, engine: Engine, clip: bytes, written: Written, tmp_path: Path
) -> None:
    secret = make_key(tmp_path / "keys.json", "ward-7")
    app = create_app(settings.model_copy(update={"keys": tmp_path / "keys.json"}), engine)
    stream = written("json")
    with TestClient(app, headers=bearer(secret)) as client:
        assert post(client, clip).status_code == 200
    assert [line["key"] for line in lines(stream)] == ["ward-7"]
    assert secret not in stream.getvalue()


@pytest.mark.parametrize("channels", ["mix", "each"])
def test_a_request_s_batches_are_timed(
    client: TestClient, clip: bytes, written: Written, recogniser: FakeRecogniser, channels: str
) -> None:
    stream = written("json")
    post(client, clip, channel=channels)
    (line,) = lines(stream)
    assert recogniser.pieces
    assert line["decode_s"] > 0
    assert line["queue_s"] >= 0


@pytest.mark.parametrize(
    ("told", "kept"),
    [('%s - "WebSocket %s" [accepted]', False), ("Started server process [%d]", True), (ValueError(), True)],
)
def test_addresses_of_live_sessions_with_their_queries_are_not_logged(told: Any, kept: bool) -> None:
    record = logging.makeLogRecord({"msg": told})
    assert logs._is_no_socket(record) == kept
