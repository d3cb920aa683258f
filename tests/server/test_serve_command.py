"""`ssvd serve` as a process of its own: it says how to try it, serves what is published, and drains."""

from __future__ import annotations

import asyncio
import logging
import re
import signal
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import httpx
import pytest
import uvicorn
from fastapi.responses import StreamingResponse

from server import serve_command
from server.app import create_app
from server.engine.engine import Engine
from server.settings import ServerSettings
from ssvd_asr.errors import SsvdError
from tests.server.fakes import FakeRecogniser
from tests.server.served import Served
from tests.speechlike import babble, wav_bytes


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = Served(tmp_path_factory.mktemp("serve"))
    yield served
    served.close()


def test_it_names_the_base_and_a_line_to_try_it(served: Served) -> None:
    assert served.ready.startswith("ssvd-asr ")
    assert re.search(rf"try: +curl .*-F file=@\S+ {served.url}/v1/audio/transcriptions", served.ready)
    assert httpx.get(f"{served.url}/readyz").status_code == 200


def test_what_is_published_on_disk_is_served_by_the_running_server(served: Served) -> None:
    def ask() -> httpx.Response:
        return httpx.post(
            f"{served.url}/v1/audio/transcriptions",
            files={"file": ("a.wav", wav_bytes(babble(2.0)))},
            data={"domain": "fresh"},
            timeout=60,
        )

    assert ask().status_code == 404
    version = served.store.publish("fresh", served.adapter)
    body = ask().json()
    assert body["ssvd"]["adapter_sha256"] == version.sha256
    assert body["text"]


def test_sigterm_ends_it_in_order(served: Served) -> None:
    """The last of this file: the server is gone afterwards."""
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(30) == 0


def test_what_was_accepted_is_finished_after_the_signal_and_readyz_says_so_first(
    settings: ServerSettings, engine: Engine, recogniser: FakeRecogniser, clip: bytes
) -> None:
    config = uvicorn.Config(create_app(settings, engine), log_config=None, timeout_graceful_shutdown=1)
    server = serve_command.DrainingServer(config, engine, settings)
    answers: list[httpx.Response] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        running = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        running.start()
        recogniser.go.clear()

        def ask() -> None:
            path = f"{url}/v1/audio/transcriptions"
            answers.append(httpx.post(path, files={"file": ("a.wav", clip)}, timeout=60))

        asking = threading.Thread(target=ask)
        asking.start()
        assert recogniser.started.acquire(timeout=60)
        server.handle_exit(signal.SIGTERM, None)
        assert httpx.get(f"{url}/readyz").status_code == 503
        assert httpx.get(f"{url}/healthz").status_code == 200
        assert answers == []
        recogniser.go.set()
        asking.join(60)
        running.join(60)
    assert not running.is_alive()
    assert [answer.status_code for answer in answers] == [200]


def test_a_stream_that_is_open_at_the_end_is_one_line_of_the_log(
    settings: ServerSettings, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(settings, engine)

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"alive"
            await asyncio.sleep(0.05)

    app.get("/endless")(lambda: StreamingResponse(endless()))
    config = uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1)
    server = serve_command.DrainingServer(config, engine, settings)
    with socket.create_server(("127.0.0.1", 0)) as listener, caplog.at_level(logging.ERROR):
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/endless"
        running = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        running.start()
        with httpx.stream("GET", url, timeout=60) as page, suppress(httpx.HTTPError):
            for number, _ in enumerate(page.iter_raw()):
                if number == 1:
                    server.handle_exit(signal.SIGTERM, None)
        running.join(60)
    assert not running.is_alive()
    assert [record.exc_info for record in caplog.records] == [None]
    assert "Cancel 1 running task" in caplog.records[0].getMessage()


def test_a_second_signal_ends_it_at_once(settings: ServerSettings, engine: Engine) -> None:
    server = serve_command.DrainingServer(uvicorn.Config(create_app(settings, engine)), engine, settings)
    server.handle_exit(signal.SIGTERM, None)
    assert not server.should_exit
    server.handle_exit(signal.SIGTERM, None)
    assert server.should_exit
    assert server.force_exit


def test_a_port_in_use_is_told_before_any_model_is_loaded() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(SsvdError, match=r"port \d+ \(SSVD_HOST, SSVD_PORT\).*in use"),
    ):
        serve_command.main(["--port", str(taken.getsockname()[1]), "--base", "nowhere"])
