"""The end of a server: accepted requests are finished, and the others hear why they are not."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from adapters_store.versions import Version
from server.api.access import TABLE
from server.app import create_app
from server.bank.packed import PackedAdapter
from server.draining import DrainingServer
from server.engine.engine import Engine
from server.settings import ServerSettings
from tests.server.fakes import TIMEOUT_S, FakeRecogniser, wait_until

ROUTE = "/v1/audio/transcriptions"


class Running:
    """A draining server in a thread of the test."""

    def __init__(self, app: FastAPI, engine: Engine, settings: ServerSettings) -> None:
        config = uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1)
        ready = threading.Event()
        self.server = DrainingServer(config, engine, settings, ready.set)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self.listener.getsockname()
        self.url = f"http://127.0.0.1:{self.address[1]}"
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.listener]})
        self.pool = ThreadPoolExecutor()
        self.thread.start()
        assert ready.wait(TIMEOUT_S)

    def stop(self) -> None:
        """What a signal does."""
        self.server.handle_exit(signal.SIGTERM, None)

    def ask(self, clip: bytes, **fields: str) -> Future[httpx.Response]:
        """Send a request; the future has its answer."""
        return self.pool.submit(
            httpx.post, self.url + ROUTE, files={"file": ("a.wav", clip)}, data=fields, timeout=TIMEOUT_S
        )

    def end(self) -> None:
        self.thread.join(TIMEOUT_S)
        assert not self.thread.is_alive(), "the server did not stop"
        self.pool.shutdown()


Start = Callable[..., Running]


@pytest.fixture
def start(
    settings: ServerSettings, engine: Engine, recogniser: FakeRecogniser, caplog: pytest.LogCaptureFixture
) -> Iterator[Start]:
    """Start servers with some other settings. Nothing that happens to them is a traceback in the log."""
    running: list[Running] = []

    def begin(extend: Callable[[FastAPI], object] = lambda _: None, **others: Any) -> Running:
        chosen = settings.model_copy(update={"drain_notice_s": 0.0, **others})
        app = create_app(chosen, engine)
        extend(app)
        running.append(Running(app, engine, chosen))
        return running[-1]

    with caplog.at_level(logging.INFO):
        yield begin
        recogniser.go.set()
        for each in running:
            each.server.should_exit = True
            each.end()
    assert [record.exc_info for record in caplog.records if record.exc_info] == []


def assert_stopping(answer: httpx.Response) -> None:
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"
    error = answer.json()["error"]
    assert (error["code"], error["type"]) == ("stopping", "server_error")
    assert "SSVD_DRAIN_TIMEOUT_S" in error["message"]


def test_what_was_accepted_is_finished_after_the_signal_and_readyz_says_so_first(
    start: Start, recogniser: FakeRecogniser, clip: bytes
) -> None:
    running = start(drain_timeout_s=TIMEOUT_S)
    recogniser.go.clear()
    answer = running.ask(clip)
    assert recogniser.started.acquire(timeout=TIMEOUT_S)
    running.stop()
    assert httpx.get(f"{running.url}/readyz").status_code == 503
    assert httpx.get(f"{running.url}/healthz").status_code == 200
    assert not answer.done()
    recogniser.go.set()
    assert answer.result(TIMEOUT_S).status_code == 200


@pytest.mark.parametrize("signals", [1, 2])
def test_what_is_not_finished_in_time_or_before_a_second_signal_is_503(
    start: Start, engine: Engine, recogniser: FakeRecogniser, clip: bytes, signals: int
) -> None:
    running = start(drain_timeout_s=0.3 if signals == 1 else 10 * TIMEOUT_S)
    recogniser.go.clear()
    on_the_device = running.ask(clip)
    assert recogniser.started.acquire(timeout=TIMEOUT_S)
    waiting = running.ask(clip, domain="child")
    wait_until(lambda: waiting.done() or engine.unfinished >= 2)
    assert not waiting.done()
    for _ in range(signals):
        running.stop()
    assert_stopping(on_the_device.result(TIMEOUT_S))
    assert_stopping(waiting.result(TIMEOUT_S))


def test_a_stream_that_is_not_finished_ends_with_an_error_event(
    start: Start, recogniser: FakeRecogniser, clip: bytes
) -> None:
    running = start(drain_timeout_s=0.3)
    recogniser.go.clear()
    answer = running.ask(clip, stream="true")
    assert recogniser.started.acquire(timeout=TIMEOUT_S)
    running.stop()
    events = [line for line in answer.result(TIMEOUT_S).text.splitlines() if line.startswith("data: ")]
    assert json.loads(events[-1].removeprefix("data: "))["error"]["code"] == "stopping"


def test_an_upload_that_goes_on_is_answered(start: Start) -> None:
    running = start(drain_timeout_s=0.3)
    with socket.create_connection(running.address) as client:
        head = f"POST {ROUTE} HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n"
        client.sendall(f"{head}Content-Type: multipart/form-data; boundary=x\r\n\r\n--x".encode())
        unanswered = running.server.config.app.state.ssvd.unanswered  # type: ignore[union-attr]
        wait_until(lambda: len(unanswered) or not running.thread.is_alive())
        assert running.thread.is_alive()
        running.stop()
        client.settimeout(TIMEOUT_S)
        answer = b"".join(iter(lambda: client.recv(4096), b""))
    head, _, body = answer.decode().partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 503 ")
    assert json.loads(body)["error"]["code"] == "stopping"


def test_a_request_whose_domain_a_slow_disk_loads_is_answered(
    start: Start, recogniser: FakeRecogniser, clip: bytes
) -> None:
    reading, go = threading.Event(), threading.Event()
    read = recogniser.read

    def hang(version: Version) -> PackedAdapter:
        reading.set()
        assert go.wait(TIMEOUT_S)
        return read(version)

    recogniser.read = hang
    running = start(drain_timeout_s=0.3)
    answer = running.ask(clip, domain="child")
    assert reading.wait(TIMEOUT_S)
    running.stop()
    try:
        assert_stopping(answer.result(TIMEOUT_S))
    finally:
        go.set()


def test_a_live_session_hears_of_its_turn_and_is_closed_as_going_away(
    start: Start, recogniser: FakeRecogniser
) -> None:
    running = start(drain_timeout_s=0.3)
    recogniser.go.clear()
    kinds, codes = [], []
    with connect(f"ws{running.url.removeprefix('http')}/v1/realtime?intent=transcription") as client:
        for event in (
            {
                "type": "session.update",
                "session": {"type": "transcription", "audio": {"input": {"turn_detection": None}}},
            },
            {"type": "input_audio_buffer.append", "audio": "AAAA" * 16_000},
            {"type": "input_audio_buffer.commit"},
        ):
            client.send(json.dumps(event))
        with suppress(ConnectionClosed):
            while True:
                event = json.loads(client.recv(TIMEOUT_S))
                kinds.append(event["type"])
                codes += [event["error"]["code"]] if "error" in event else []
                if event["type"] == "input_audio_buffer.committed":
                    running.stop()
        assert client.close_code == 1001
    assert kinds[-1] == "error"
    assert set(codes) == {"stopping"}


def test_a_stream_that_is_open_at_the_end_is_one_line_of_the_log(
    start: Start, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TABLE, ("GET", "/endless"), "public")

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"alive"
            await asyncio.sleep(0.05)

    running = start(lambda app: app.get("/endless")(lambda: StreamingResponse(endless())))
    page = httpx.stream("GET", f"{running.url}/endless", timeout=TIMEOUT_S)
    with page as answer, suppress(httpx.HTTPError):
        for number, _ in enumerate(answer.iter_raw()):
            if number == 1:
                running.stop()
    running.end()
    errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 1
    assert "Cancel 1 running task" in errors[0]


def test_a_third_signal_cuts_off_what_is_being_sent(settings: ServerSettings, engine: Engine) -> None:
    server = DrainingServer(uvicorn.Config(create_app(settings, engine)), engine, settings)
    for _ in range(2):
        server.handle_exit(signal.SIGTERM, None)
        assert not server.force_exit
    server.handle_exit(signal.SIGTERM, None)
    assert server.should_exit
    assert server.force_exit
