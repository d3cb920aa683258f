"""`ssvd serve` as a process of its own: it says how to try it, serves what is published, and drains."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
import uvicorn
from fastapi.responses import StreamingResponse

from adapters_store.store import AdapterStore
from server import serve_command
from server.api.access import TABLE
from server.app import create_app
from server.engine.engine import Engine
from server.serve_command import ready_message
from server.settings import ServerSettings
from ssvd_asr.errors import SsvdError
from tests.random_owsm import write_random_owsm
from tests.server.fakes import FakeRecogniser
from tests.server.keys.making import make_key
from tests.server.real import write_random_adapter
from tests.speechlike import babble, wav_bytes


class Served:
    """A running `ssvd serve` over a tiny random OWSM."""

    def __init__(self, root: Path) -> None:
        self.store = AdapterStore(root / "store")
        self.base = write_random_owsm(root / "tiny")
        self.cache = root / "cache"
        self.adapter = write_random_adapter(root / "adapter", self.base, self.cache)
        command = [sys.executable, "-m", "ssvd_asr.cli", "serve", "--port", "0", "--no-ui", "--device", "cpu"]
        command += ["--base", str(self.base), "--store", str(self.store.root)]
        environment = {**os.environ, "SSVD_CACHE_DIR": str(self.cache), "SSVD_DRAIN_NOTICE_S": "0.2"}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert self.process.stdout is not None
        self.ready = ""
        while "try:" not in self.ready:
            line = self.process.stdout.readline()
            assert line, f"ssvd serve ended with {self.process.wait(30)}"
            self.ready += line
        found = re.search(r" at (http://127\.0\.0\.1:\d+)\n", self.ready)
        assert found
        self.url = found[1]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = Served(tmp_path_factory.mktemp("serve"))
    yield served
    if served.process.poll() is None:
        served.process.kill()
    assert served.process.stdout is not None
    served.process.stdout.close()
    served.process.wait(30)


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
    settings: ServerSettings,
    engine: Engine,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(TABLE, ("GET", "/endless"), "public")
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


def test_an_address_that_others_reach_is_refused_without_keys_before_any_model_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSVD_KEYS", str(tmp_path / "keys.json"))
    with pytest.raises(SsvdError, match=r"other machines may reach 0\.0\.0\.0.*`ssvd keys add NAME`"):
        serve_command.main(["--host", "0.0.0.0", "--base", "nowhere"])


def test_the_first_lines_say_who_may_call_and_how_to_with_a_key(
    settings: ServerSettings, engine: Engine, tmp_path: Path
) -> None:
    assert "keys:    none: anyone who reaches http://127.0.0.1:8000" in ready_message(settings, engine)
    secret = make_key(tmp_path / "keys.json", "a")
    told = ready_message(settings.model_copy(update={"keys": tmp_path / "keys.json"}), engine)
    assert f"keys:    asked for; 1 in {tmp_path / 'keys.json'}" in told
    assert 'curl -H "Authorization: Bearer $SSVD_KEY"' in told
    assert secret not in told
