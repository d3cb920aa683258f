"""A server for a recipe's measurement, started as a user starts it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ssvd_asr.errors import SsvdError


@contextmanager
def running_server(
    *options: str, quiet: bool = False, folder: Path | None = None, **settings: str
) -> Iterator[str]:
    """Run `ssvd serve` without its page on a free port while the block runs; yield its address.

    Args:
        options: of the command.
        quiet: drop what it logs.
        folder: the source to run; the current folder's by default.
        settings: environment variables.

    Raises SsvdError if the server ends before it is ready.
    """
    command = [sys.executable, "-m", "ssvd_asr.cli", "serve", *options, "--no-ui", "--port", "0"]
    log = subprocess.DEVNULL if quiet else None
    environment = {**os.environ, "SSVD_AUTH": "off", **settings}  # a measurement has no key
    if folder is not None:
        environment["PYTHONPATH"] = str(folder)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment, cwd=folder
    ) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line:
                raise SsvdError(f"`ssvd serve` ended with {process.wait()} before it was ready")
            yield line.split()[-1]
        finally:
            process.terminate()
