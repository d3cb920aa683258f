"""Load: users by locust, more and more of them until the server refuses some, and back again.

    python -m benchmarks.load

Each mix of domains has a ramp of its own: `uniform`, `zipf` (the n-th domain is asked for 1/n as often as the
first), `one-hot`. Then short clips are asked for alone, and beside an hour-long recording. It writes
docs/results/operations-load.json.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import soundfile

from adapters_store.store import AdapterStore
from benchmarks.operations import LOAD, SPEACHES, quantile, save, speaches_available
from benchmarks.random_domains import publish_random_domains
from benchmarks.report import command, parser, table, version_of
from benchmarks.traffic import clips
from recipes.serving import running_server
from ssvd_asr.errors import SsvdError

BASE = "owsm-nano"
USERS = (4, 8, 16, 32, 64, 32, 16, 8, 4)  # of the stages of a ramp
QUEUE_S = 60.0  # of audio: small, so that 64 users are too many
BESIDE = 4  # users of short clips beside a long recording
MIXES = ("uniform", "zipf", "one-hot")
PLAN_VARIABLE = "SSVD_LOAD_PLAN"  # as in load_users.py, which only locust can import


def main(argv: Sequence[str] | None = None) -> None:
    """Run it and write the record."""
    arguments = _parse(argv)
    rows: list[dict[str, object]] = []
    with TemporaryDirectory() as folder:
        place = Path(folder)
        store = AdapterStore(place / "store")
        domains = publish_random_domains(BASE, store, place, arguments.domains)
        run = Runs(arguments, place, domains)
        with running_server(
            "--base", BASE, quiet=True, SSVD_STORE=str(store.root), SSVD_QUEUE_MAX_AUDIO_S=str(QUEUE_S),
            SSVD_MAX_DURATION_S=str(QUEUE_S),
        ) as url:  # fmt: skip
            for mix in MIXES:
                rows += run.ramp(url, mix)
        long_s = 60 * arguments.long_minutes
        with running_server(
            "--base", BASE, quiet=True, SSVD_STORE=str(store.root), SSVD_QUEUE_MAX_AUDIO_S=str(4 * long_s),
            SSVD_MAX_DURATION_S=str(long_s + 60), SSVD_MAX_UPLOAD_BYTES=str(2**30),
        ) as url:  # fmt: skip
            rows += run.beside(url, None)
            rows += run.beside(url, run.recording(long_s))
    print(table(rows))
    record = {
        "command": command(), "base": BASE, "domains": arguments.domains, "locust": version_of("locust"),
        SPEACHES: speaches_available(), "rows": rows,
    }  # fmt: skip
    save(LOAD, record, arguments.out, quick=arguments.quick)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    made = parser(__doc__)
    made.add_argument("--domains", type=int, default=64, help="random domains of the store")
    made.add_argument("--stage-s", type=float, default=20.0, help="seconds of each stage of a ramp")
    made.add_argument("--beside-s", type=float, default=300.0, help="seconds beside a long recording")
    made.add_argument("--long-minutes", type=float, default=60.0, help="length of that recording")
    made.add_argument("--users", type=int, nargs="+", default=list(USERS), help="of each stage of a ramp")
    arguments = made.parse_args(argv)
    if arguments.quick:
        arguments.domains, arguments.stage_s, arguments.users = 4, 1.0, [2, 32, 2]
        arguments.beside_s, arguments.long_minutes = 3.0, 1.0
    return arguments


class Runs:
    """The runs of locust against one store's domains."""

    def __init__(self, arguments: argparse.Namespace, folder: Path, domains: Sequence[str]) -> None:
        self._arguments, self._folder, self._domains = arguments, folder, domains
        self._clips = []
        for number, clip in enumerate(clips(20)):
            path = folder / f"clip{number}.opus"
            path.write_bytes(clip)
            self._clips.append(str(path))

    def ramp(self, url: str, mix: str) -> Iterator[dict[str, object]]:
        """Yield a row for each stage of a ramp."""
        stages = [{"users": users, "seconds": self._arguments.stage_s} for users in self._arguments.users]
        seen = self._locust(url, weights(mix, len(self._domains)), stages, None)
        until_s = 0.0
        for stage in stages:
            from_s, until_s = until_s, until_s + stage["seconds"]
            here = [each for each in seen if from_s <= each["ended_s"] < until_s]
            yield {"mix": mix, "users": stage["users"], **summary(here, stage["seconds"])}

    def beside(self, url: str, recording: Path | None) -> Iterator[dict[str, object]]:
        """Yield a row of users of short clips, and one of the long recording that is decoded meanwhile."""
        seconds = self._arguments.beside_s
        stages = [{"users": BESIDE + (recording is not None), "seconds": seconds}]
        seen = self._locust(url, weights("zipf", len(self._domains)), stages, recording)
        for kind in ("short", "long") if recording is not None else ("short",):
            here = [each for each in seen if each["kind"] == kind]
            mix = f"{kind} clips" if recording is None else f"{kind}, both at once"
            yield {"mix": mix, "users": BESIDE if kind == "short" else 1, **summary(here, seconds)}

    def recording(self, seconds: float) -> Path:
        """Write the clips one after the other, again and again, as one recording of this length."""
        rate_hz = 16_000
        waves = [soundfile.read(io.BytesIO(Path(path).read_bytes()), dtype="float32") for path in self._clips]
        assert {rate for _, rate in waves} == {rate_hz}
        once = np.concatenate([wave for wave, _ in waves])
        path = self._folder / "long.flac"
        with soundfile.SoundFile(path, "w", rate_hz, 1, format="FLAC") as file:
            left = int(seconds * rate_hz)
            while left > 0:
                file.write(once[:left])
                left -= len(once)
        return path

    def _locust(
        self, url: str, shares: Sequence[float], stages: Sequence[Mapping[str, float]], long: Path | None
    ) -> list[dict[str, Any]]:
        """Return what the users saw; times are seconds from the run's beginning."""
        plan, out = self._folder / "plan.json", self._folder / "seen.json"
        told = {
            "clips": self._clips, "long": None if long is None else str(long), "domains": self._domains,
            "weights": shares, "stages": stages, "out": str(out),
        }  # fmt: skip
        plan.write_text(json.dumps(told), encoding="utf-8")
        words = [sys.executable, "-m", "locust", "-f", str(Path(__file__).with_name("load_users.py"))]
        words += [
            "--headless",
            "--host",
            url,
            "--only-summary",
            "--loglevel",
            "WARNING",
            "--stop-timeout",
            "0",
        ]
        environment = {**os.environ, PLAN_VARIABLE: str(plan)}
        done = subprocess.run(words, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SsvdError(f"locust ended with {done.returncode}: {done.stderr[-2000:]}")
        seen = json.loads(out.read_text(encoding="utf-8"))
        began_s = next(each["began_s"] for each in seen if each["kind"] == "began")
        return [
            {**each, "began_s": each["began_s"] - began_s, "ended_s": each["ended_s"] - began_s}
            for each in seen
            if each["kind"] != "began"
        ]


def weights(mix: str, domains: int) -> list[float]:
    """Return how often each domain is asked for, over the first."""
    if mix == "one-hot":
        return [1.0] + [0.0] * (domains - 1)
    return [1.0 / (rank if mix == "zipf" else 1) for rank in range(1, domains + 1)]


def summary(seen: Sequence[Mapping[str, Any]], seconds: float) -> dict[str, object]:
    """Return the figures of some requests that ended within so many seconds."""
    times = [each["ended_s"] - each["began_s"] for each in seen if not each["code"]]
    refused = Counter(each["code"] for each in seen if each["code"])
    return {
        "transcribed_per_s": round(len(times) / seconds, 2),
        "p50_s": quantile(times, 0.5),
        "p95_s": quantile(times, 0.95),
        "p99_s": quantile(times, 0.99),
        "refused": ", ".join(f"{count} {code}" for code, count in sorted(refused.items())),
    }


if __name__ == "__main__":
    main()
