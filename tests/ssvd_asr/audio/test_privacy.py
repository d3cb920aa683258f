"""The voice detector's runtime tells nobody that it runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROBE = """
import numpy as np
from ssvd_asr.audio.segment import AUTO, find_spans
find_spans(np.zeros(16_000, np.float32), 160_000, AUTO, 0, join=True)
"""


def test_the_voice_detector_makes_no_identifier_of_the_machine_and_no_store_of_events(tmp_path: Path) -> None:
    places = {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    subprocess.run([sys.executable, "-c", PROBE], check=True, env=environment | places)
    assert list(tmp_path.rglob("*")) == []
