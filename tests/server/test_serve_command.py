"""`ssvd serve` as a process of its own: it says how to try it, serves what is published, and drains."""

from __future__ import annotations

import http.client
import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from server import serve_command
from server.engine.engine import Engine
from server.serve_command import ready_message
from server.settings import ServerSettings
from ssvd_asr.errors import SsvdError
from tests.server.keys.making import make_key, ring_of
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


def test_a_connection_outlives_the_pause_between_two_requests(served: Served) -> None:
    """As long as a client that is told to come again waits; uvicorn's own default is 5 s."""
    address = httpx.URL(served.url)
    with closing(http.client.HTTPConnection(address.host, address.port)) as connection:
        connection.request("GET", "/healthz")
        connection.getresponse().read()
        first = connection.sock
        time.sleep(6)
        connection.request("GET", "/healthz")
        assert connection.getresponse().read()
        assert connection.sock is first


def test_sigterm_ends_it_in_order(served: Served) -> None:
    """The last of this file: the server is gone afterwards."""
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(30) == 0


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
    assert "keys:    none: anyone who reaches http://127.0.0.1:8000" in ready_message(
        settings, engine, ring_of(settings)
    )
    secret = make_key(tmp_path / "keys.json", "a")
    keyed = settings.model_copy(update={"keys": tmp_path / "keys.json"})
    told = ready_message(keyed, engine, ring_of(keyed))
    assert f"keys:    asked for; 1 in {tmp_path / 'keys.json'}" in told
    assert 'curl -H "Authorization: Bearer $SSVD_KEY"' in told
    assert secret not in told
