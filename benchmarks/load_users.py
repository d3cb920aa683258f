"""Users of benchmarks.load, for locust. The plan is a JSON file that the variable SSVD_LOAD_PLAN names.

Locust's gevent replaces parts of the standard library, so this runs in a process of its own.
"""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path
from typing import Any

from locust import HttpUser, LoadTestShape, constant, events, task

PLAN_VARIABLE = "SSVD_LOAD_PLAN"
URL = "/v1/audio/transcriptions"
TIMEOUT_S = 3600

_plan: dict[str, Any] = json.loads(Path(os.environ[PLAN_VARIABLE]).read_text(encoding="utf-8"))
_clips = [Path(path).read_bytes() for path in _plan["clips"]]
_long = Path(_plan["long"]).read_bytes() if _plan["long"] else b""
_seen: list[dict[str, object]] = []
_random = random.Random(0)


class Speaker(HttpUser):
    """Asks for one short clip after the other."""

    weight = 1
    wait_time = constant(0)

    @task
    def transcribe(self) -> None:
        """Send a clip in a domain that the plan's weights draw. A user who is refused waits as told."""
        (domain,) = _random.choices(_plan["domains"], _plan["weights"])
        _ask(self, "short", _random.choice(_clips), domain)


class Lecturer(HttpUser):
    """Asks for one long recording after the other."""

    fixed_count = 1 if _long else 0
    weight = 1 if _long else 0
    wait_time = constant(0)

    @task
    def transcribe(self) -> None:
        """Send the recording."""
        _ask(self, "long", _long, _plan["domains"][0])


class Ramp(LoadTestShape):
    """So many users in each stage of the plan."""

    def tick(self) -> tuple[int, float] | None:
        """Return the users now and how many may start a second, or None at the end."""
        stage = _stage_at(self.get_run_time())  # type: ignore[no-untyped-call]
        if stage is None:
            return None
        users = int(_plan["stages"][stage]["users"])
        return users, float(users)


def _stage_at(run_time_s: float) -> int | None:
    for number, stage in enumerate(_plan["stages"]):
        run_time_s -= stage["seconds"]
        if run_time_s < 0:
            return number
    return None


def _ask(user: HttpUser, kind: str, clip: bytes, domain: str) -> None:
    began_s = time.monotonic()
    files = {"file": ("a.opus", clip)}
    data = {"domain": domain}
    with user.client.post(
        URL, files=files, data=data, name=kind, catch_response=True, timeout=TIMEOUT_S
    ) as response:
        ended_s = time.monotonic()
        code = ""
        if response.status_code != 200:
            code = "none" if response.status_code == 0 else response.json()["error"]["code"]
        elif response.json()["ssvd"]["domain"] != domain:
            code = "wrong_domain"
        _seen.append({"kind": kind, "began_s": began_s, "ended_s": ended_s, "code": code})
        response.success()  # refusals are counted by us
    if code:
        time.sleep(float(response.headers.get("Retry-After", 1)))


@events.test_start.add_listener  # type: ignore[untyped-decorator]
def _begin(**_: object) -> None:
    _seen.append({"kind": "began", "began_s": time.monotonic(), "ended_s": time.monotonic(), "code": ""})


@events.quitting.add_listener  # type: ignore[untyped-decorator]
def _write(**_: object) -> None:
    Path(_plan["out"]).write_text(json.dumps(_seen), encoding="utf-8")
