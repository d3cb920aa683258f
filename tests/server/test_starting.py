"""`ssvd serve` as a process: how it ends, whatever an operator does to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient
from websockets.sync.client import connect

from adapters_store.audit import AUDIT_VARIABLE
from server import serve_command
from server.app import create_app
from server.engine.engine import Engine
from server.settings import ServerSettings
from ssvd_asr import cli
from tests.server.api.test_transcriptions import post
from tests.server.fakes import TIMEOUT_S, FakeRecogniser, wait_until

ROOT = Path(__file__).parents[2]
Serve = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start `ssvd serve` over a fake recogniser, see tests/server/fake_serve.py."""
    own = ("SSVD_KEYS", AUDIT_VARIABLE)  # the tests' (tests/conftest.py), not of whoever runs them
    environment = {
        name: value for name, value in os.environ.items() if name in own or not name.startswith("SSVD_")
    }
    environment |= {"SSVD_STORE": str(tmp_path / "store"), "SSVD_DRAIN_NOTICE_S": "0", "OMP_NUM_THREADS": "1"}
    processes: list[subprocess.Popen[str]] = []

    def start(what: str, *options: str, **variables: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.server.fake_serve", what, "--port", "0", "--no-ui", *options]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment | variables,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def url_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert " at http://" in line, process.communicate()
    return line.split()[-1]


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """The status of a process, and what it wrote to standard error."""
    log = process.communicate(timeout=2 * TIMEOUT_S)[1]
    assert "Traceback" not in log, log
    return process.returncode, log


def test_signals_end_a_server_whose_device_hangs_and_every_request_has_an_answer(
    serve: Serve, clip: bytes
) -> None:
    process = serve("hang", SSVD_LOG_FORMAT="json")
    url = url_of(process)

    def ask() -> httpx.Response:
        files = {"file": ("secret.wav", clip)}
        return httpx.post(f"{url}/v1/audio/transcriptions", files=files, timeout=TIMEOUT_S)

    with connect(f"ws{url.removeprefix('http')}/v1/realtime?intent=transcription") as client:
        client.recv(TIMEOUT_S)
    with ThreadPoolExecutor() as pool:
        asked = [pool.submit(ask) for _ in range(3)]
        unfinished = "ssvd_unfinished_requests 3.0"
        wait_until(
            lambda: (
                any(each.done() for each in asked)
                or unfinished in httpx.get(f"{url}/metrics", timeout=TIMEOUT_S).text
            )
        )
        assert not any(each.done() for each in asked)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        answers = [each.result(TIMEOUT_S) for each in asked]
    assert [(each.status_code, each.json()["error"]["code"]) for each in answers] == [(503, "stopping")] * 3
    status, log = ended(process)
    assert status == 0
    lines = [json.loads(line) for line in log.splitlines()]
    assert [line["status"] for line in lines if line["logger"] == "server.requests"] == [101, 503, 503, 503]
    assert any('log_format="json" (SSVD_LOG_FORMAT)' in line["message"] for line in lines)
    assert "secret" not in log
    assert "intent=" not in log


def test_a_signal_ends_a_server_that_loads(serve: Serve) -> None:
    process = serve("load")
    assert process.stdout is not None
    assert process.stdout.readline() == "loading\n"
    process.send_signal(signal.SIGTERM)
    status, log = ended(process)
    assert (status, log.splitlines()[-1]) == (143, "ssvd serve: stopped before it was ready")


@pytest.mark.parametrize(
    ("options", "variables", "told"),
    [
        ((), {"SSVD_DRAIN_TIMEOUT": "5"}, "did you mean SSVD_DRAIN_TIMEOUT_S?"),
        (("--config", "/nowhere.toml"), {}, "--config /nowhere.toml: No such file"),
        ((), {"SSVD_STORE": "/dev/null"}, "/dev/null"),
        ((), {"SSVD_MODEL_ALIASES": "a=b"}, "(SSVD_MODEL_ALIASES)"),
        ((), {"OTEL_EXPORTER_OTLP_ENDPOINT": "x:1", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "=grpc"),
    ],
)
def test_what_is_wrong_at_the_start_is_told_in_one_line(
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    variables: dict[str, str],
    told: str,
) -> None:
    monkeypatch.setattr(serve_command, "start_engine", lambda _: engine)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cli.main(["serve", "--port", "0", "--no-ui", *options]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("ssvd serve: ")
    assert told in line


def test_a_message_that_nobody_reads_is_in_the_log_and_the_server_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as gone:
        monkeypatch.setattr(sys, "stdout", gone)
        serve_command._tell("it listens")
    assert "(Broken pipe): it listens" in caplog.text


def test_the_language_of_the_server_is_written_as_in_requests(
    settings: ServerSettings, engine: Engine, recogniser: FakeRecogniser, clip: bytes
) -> None:
    named = settings.model_copy(update={"language": "Dutch"})
    with TestClient(create_app(named, engine)) as client:
        assert post(client, clip).status_code == 200
    assert [piece.language for piece in recogniser.pieces] == ["<nld>"]
