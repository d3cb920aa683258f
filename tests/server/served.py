"""`ssvd serve` in a process of its own, over a tiny random OWSM."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from adapters_store.store import AdapterStore
from tests.random_owsm import write_random_owsm
from tests.server.real import write_random_adapter

ROOT = Path(__file__).parents[2]


class Served:
    """A running server: its process, address, store, base, and an adapter that is not published yet.

    It may write to its data alone, as in a container with a read-only root: it has no home, and works in a
    folder of the kernel's, in which nobody makes a file.
    """

    def __init__(self, root: Path, **settings: str) -> None:
        """Start it below `root` with these environment variables, and wait until it is ready."""
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
            command, stdout=subprocess.PIPE, text=True, env={**environment, **settings}, cwd="/proc"
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

    def close(self) -> None:
        """End the process, if it has not ended itself."""
        if self.process.poll() is None:
            self.process.kill()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process.wait(30)
