"""Visitors are served at the same time: the page itself makes nobody wait for another."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from gradio_client import Client, handle_file

from tests.ui.test_visits import page_alone, recording_of

VISITORS = 3
together = threading.Barrier(VISITORS)


class _Server(BaseHTTPRequestHandler):
    """Answers a transcription only when all visitors' have come."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        together.wait(timeout=120)
        self.send_error(503)

    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Server) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()


def test_no_visitor_waits_for_another_s_recording(server: str, tmp_path: Path) -> None:
    with page_alone(tmp_path, server=server) as (_, address):
        clients = [Client(address, verbose=False) for _ in range(VISITORS)]
        files = [handle_file(str(recording_of(tmp_path, f"of-{number}"))) for number in range(VISITORS)]
        jobs = [
            client.submit(file, None, None, "", None, api_name="/transcribe")
            for client, file in zip(clients, files, strict=True)
        ]
        for job in jobs:
            job.result(timeout=240)
        for client in clients:
            client.close()
    assert not together.broken
