"""`ssvd serve` as a process of its own: it says how to try it, serves what is published, and drains."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from adapters_store.store import AdapterStore
from server import serve_command
from ssvd_asr.errors import SsvdError
from tests.random_owsm import write_random_owsm
from tests.server.real import write_random_adapter
from tests.speechlike import babble, wav_bytes

ROOT = Path(__file__).parents[2]


class Served:
    """A running `ssvd serve` over a tiny random OWSM.

    It may write to its data alone, as in a container with a read-only root: it has no home, and works in a
    folder of the kernel's, in which nobody makes a file.
    """

    def __init__(self, root: Path) -> None:
        self.store = AdapterStore(root / "store")
        self.base = write_random_owsm(root / "tiny")
        self.cache = root / "cache"
        self.adapter = write_random_adapter(root / "adapter", self.base, self.cache)
        command = [sys.executable, "-m", "ssvd_asr.cli", "serve", "--port", "0", "--no-ui", "--device", "cpu"]
        command += ["--base", str(self.base), "--store", str(self.store.root)]
        (root / "tmp").mkdir()
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("XDG_")},
            "HOME": "/dev/null/nowhere",
            "TMPDIR": str(root / "tmp"),
            "HF_HOME": str(root / "hub"),
            "SSVD_AUDIT_LOG": str(root / "audit.jsonl"),
            "SSVD_CACHE_DIR": str(self.cache),
            "SSVD_DRAIN_NOTICE_S": "0.2",
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=environment, cwd="/proc"
        )
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


def test_a_port_in_use_is_told_before_any_model_is_loaded() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(SsvdError, match=r"port \d+ \(SSVD_HOST, SSVD_PORT\).*in use"),
    ):
        serve_command.main(["--port", str(taken.getsockname()[1]), "--base", "nowhere"])
