"""nginx and Caddy with the lines of docs/operating.md, in front of a server."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import trustme
from websockets.sync.client import connect

from server.app import create_app
from server.engine.engine import Engine
from server.settings import ServerSettings
from tests.ports import free_port
from tests.server.fakes import TIMEOUT_S, FakeRecogniser, wait_until
from tests.server.live import listening
from tests.speechlike import babble, phrases, wav_bytes

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
ROUTE = "/v1/audio/transcriptions"
OVER_LIMIT = 3_000_000  # of the fixture's settings, and under twice the limit
Begin = Callable[[Path, int, str], list[str]]  # folder, port, the server's address


def shown(beginning: str) -> str:
    """The example of the page that begins so."""
    found = re.search(rf"(?m)^    {re.escape(beginning)}.*\n(?:(?:    .*)?\n)*?(?=^\S)", PAGE)
    assert found
    return textwrap.dedent(found[0])


def replaced(text: str, *pairs: tuple[str, str]) -> str:
    """The text with each first string in place of the second; all are there."""
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    return text


def nginx(folder: Path, port: int, server: str) -> list[str]:
    site = replaced(
        shown("server {"),
        ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl; ssl_certificate pem; ssl_certificate_key pem;"),
        ("speech.example.org", "localhost"),
        ("http://127.0.0.1:8000", server),
    )
    places = "\n".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.geteuid() == 0 else ""  # workers read pytest's folder
    (folder / "nginx.conf").write_text(
        f"{user} daemon off; pid {folder}/pid; error_log stderr; events {{}}\n"
        f"http {{ access_log off; {places}\n{site} }}"
    )
    return ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]


def caddy(folder: Path, port: int, server: str) -> list[str]:
    site = replaced(
        shown("speech.example.org {"),
        ("speech.example.org {", f"https://localhost:{port} {{\n    tls {folder}/pem {folder}/pem"),
        ("127.0.0.1:8000", server.removeprefix("http://")),
    )
    (folder / "Caddyfile").write_text(f"{{\n    admin off\n    auto_https disable_redirects\n}}\n{site}")
    return ["caddy", "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]


@contextmanager
def running(folder: Path, begin: Begin, server: str) -> Iterator[str]:
    """The address of a proxy of this server, while the block runs."""
    port = free_port()
    command = begin(folder, port, server)
    environment = {**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    with (folder / "log").open("w") as log, subprocess.Popen(command, env=environment, stderr=log) as process:

        def listens() -> bool:
            assert process.poll() is None, (folder / "log").read_text()
            with socket.socket() as trial:
                return trial.connect_ex(("127.0.0.1", port)) == 0

        try:
            wait_until(listens)
            yield f"https://localhost:{port}"
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture(params=[nginx, caddy], ids=["nginx", "caddy"])
def url(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    authority: trustme.CA,
    settings: ServerSettings,
    engine: Engine,
) -> Iterator[str]:
    begin: Begin = request.param
    if shutil.which(begin.__name__) is None:
        pytest.skip(f"needs {begin.__name__}: apt-get install {begin.__name__}")
    folder = tmp_path / "proxy"
    folder.mkdir()
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(folder / "pem")
    with (
        listening(create_app(settings, engine)) as server,
        running(folder, begin, server) as url,
    ):
        yield url


@pytest.fixture
def client(url: str, trusting: ssl.SSLContext) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, verify=trusting, timeout=TIMEOUT_S) as client:
        yield client


def test_a_request_comes_through_and_a_large_one_gets_the_servers_own_answer(client: httpx.Client) -> None:
    heard = client.post(ROUTE, files={"file": ("a.wav", wav_bytes(babble(2.0)))}, data={"domain": "child"})
    assert heard.json()["text"] == "child words of version 2"
    refused = client.post(ROUTE, files={"file": ("a.wav", bytes(OVER_LIMIT))})
    assert refused.status_code == 413
    assert refused.json()["error"]["code"] == "upload_too_large"


def test_events_of_a_stream_come_at_once(client: httpx.Client, recogniser: FakeRecogniser) -> None:
    """The last piece is decoded when the first two have been read."""
    recogniser.turns = threading.Semaphore(1)
    seen = []
    with client.stream(
        "POST", ROUTE, files={"file": ("a.wav", wav_bytes(phrases(3)))}, data={"stream": "true"}
    ) as reply:
        for line in reply.iter_lines():
            if line.startswith("data: {"):
                seen.append(json.loads(line.removeprefix("data: "))["type"])
                if len(seen) == 2:
                    recogniser.turns.release()
    assert seen == ["transcript.text.delta"] * 3 + ["transcript.text.done"]


def test_a_live_session_is_opened(url: str, trusting: ssl.SSLContext) -> None:
    address = f"wss{url.removeprefix('https')}/v1/realtime?intent=transcription"
    with connect(address, ssl=trusting, open_timeout=TIMEOUT_S) as session:
        assert '"session.created"' in str(session.recv(timeout=TIMEOUT_S))
