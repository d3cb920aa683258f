"""`ssvd serve` over a fake recogniser, as a process: `python -m tests.server.fake_serve WHAT OPTIONS...`

WHAT is `hang`, where the device never finishes, or `load`, where the base never finishes loading.
"""

from __future__ import annotations

import sys
import time

from server import serve_command
from server.engine.engine import Engine
from server.engine.start import engine_over, open_store
from server.settings import ServerSettings
from ssvd_asr import cli
from tests.server.fakes import FakeRecogniser

if __name__ == "__main__":
    what, *options = sys.argv[1:]

    def start_engine(settings: ServerSettings) -> Engine:
        if what == "load":
            print("loading", flush=True)
            time.sleep(60)
        recogniser = FakeRecogniser()
        recogniser.go.clear()
        return engine_over(recogniser, settings, open_store(settings))

    serve_command.start_engine = start_engine
    sys.exit(cli.main(["serve", *options]))
