"""Soak: a server at 1.5 times its capacity for many minutes, while everything around it changes.

    python -m benchmarks.soak --minutes 20

Capacity is measured first. Then requests come at a fixed rate, whether or not earlier ones are answered.
Meanwhile a publisher changes the store, clients leave, live sessions speak, and hostile files come among
the others. The run passes if no reply names a wrong domain, no accepted request is lost, nothing is held
at the end, and memory and latency are then as after the warm-up. It writes docs/results/operations-soak.json.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import httpx

from adapters_store.store import AdapterStore
from benchmarks.operations import SOAK, quantile, save
from benchmarks.random_domains import domain_name, random_adapters
from benchmarks.report import command, parser
from benchmarks.soak_watch import Watch
from benchmarks.traffic import (
    LEFT,
    LOST,
    REFUSED,
    TRANSCRIBED,
    Answer,
    ask,
    at_rate,
    capacity,
    client_of,
    clips,
)
from benchmarks.unruly import Hostile, speak
from recipes.serving import running_server
from tests.fire.hostile import LIMITS
from tests.server.history import History, change_at_random

BASE = "owsm-nano"
NAMES = [domain_name(number) for number in range(8)]
LASTING = NAMES[:-1]  # the last one is removed altogether now and then
OVERLOAD = 1.5
LIVE = 2  # sessions that speak all the time
LEAVE, HOSTILE = 0.05, 0.05  # shares of the requests
CHANGE_S = 0.5  # between changes of the store
MAX_GROWTH_MIB = 50.0
MAX_SLOWER = 1.5  # of the last windows' median latency over that after the warm-up
QUEUE_S = 60.0  # of audio: what waits longer is refused


def main(argv: Sequence[str] | None = None) -> int:
    """Run it and write the record. Return 1 if it did not pass."""
    arguments = _parse(argv)
    with TemporaryDirectory() as folder:
        record = asyncio.run(_run(arguments, Path(folder)))
    save(SOAK, record, arguments.out, quick=arguments.quick)
    print("passed" if record["passed"] else "NOT PASSED", record["outcome"], file=sys.stderr)
    return 0 if record["passed"] else 1


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    made = parser(__doc__)
    made.add_argument("--minutes", type=float, default=20.0, help="at 1.5 times the capacity")
    made.add_argument("--capacity-s", type=float, default=30.0, help="for which capacity is measured")
    made.add_argument("--adapters", type=int, default=12, help="files that are published under the names")
    arguments = made.parse_args(argv)
    if arguments.quick:
        arguments.minutes, arguments.capacity_s, arguments.adapters = 0.4, 4.0, 4
    return arguments


async def _run(arguments: argparse.Namespace, folder: Path) -> dict[str, object]:
    store = AdapterStore(folder / "store")
    files = list(random_adapters(BASE, folder, arguments.adapters))
    history = History(NAMES)
    for number, name in enumerate(NAMES):
        history.change(store, name, lambda n=name, i=number: store.publish(n, files[i % len(files)]))
    settings = {**LIMITS, "SSVD_QUEUE_MAX_AUDIO_S": str(QUEUE_S), "SSVD_STORE": str(store.root)}
    with running_server("--base", BASE, quiet=True, **settings) as url:
        sent = clips(40)
        rate = await capacity(url, sent, NAMES, arguments.capacity_s)
        soak = Soak(url, store, files, history, sent)
        await soak.run(OVERLOAD * rate, 60 * arguments.minutes)
        record = soak.record(quick=arguments.quick)
    about = {"command": command(), "base": BASE, "minutes": arguments.minutes, "overload": OVERLOAD}
    return {**about, "capacity_per_s": rate, "asked_per_s": OVERLOAD * rate, **record}


class Soak:
    """The clients and the publisher of one run, and what they saw."""

    def __init__(
        self, url: str, store: AdapterStore, files: Sequence[Path], history: History, sent: Sequence[bytes]
    ) -> None:
        self.url, self.store, self.files, self.history, self.sent = url, store, files, history, sent
        self.answers: list[Answer] = []
        self.faults: list[str] = []  # of hostile files and live sessions
        self.turns: list[Answer] = []  # of live sessions, each as long as its session so far
        self.watch = Watch(url)
        self._random = Random(0)
        self._hostile = Hostile()
        self._over = threading.Event()

    async def run(self, per_s: float, seconds: float) -> None:
        """Send so many requests a second for so long, then wait for all answers."""
        publisher = threading.Thread(target=self._publish)
        publisher.start()
        until_s = time.monotonic() + seconds
        try:
            async with client_of(self.url) as client, asyncio.TaskGroup() as group:
                group.create_task(self.watch.run(until_s, seconds))
                for number in range(LIVE):
                    domain = LASTING[number % len(LASTING)]
                    group.create_task(
                        speak(
                            self.url, f"{BASE}:{domain}", self.sent, until_s, self.turns.append, self.faults
                        )
                    )
                await at_rate(per_s, seconds, lambda number: group.create_task(self._one(client, number)))
        finally:
            self._over.set()
            publisher.join()
        await self.watch.settle()

    async def _one(self, client: httpx.AsyncClient, number: int) -> None:
        """Send one request of the kind that its turn brings."""
        draw = self._random.random()
        if draw < HOSTILE:
            await self._hostile.send(client, self._random, self.faults)
            return
        leave_after_s = self._random.uniform(0.01, 0.5) if draw < HOSTILE + LEAVE else None
        domain = self._random.choice([None, *NAMES])
        self.answers.append(await ask(client, self.sent[number % len(self.sent)], domain, leave_after_s))

    def _publish(self) -> None:
        """Change the store until the run is over. One thread, so that the history is in order."""
        random = Random(1)
        while not self._over.wait(CHANGE_S):
            change_at_random(self.history, self.store, NAMES, LASTING, self.files, random, activates=True)

    def record(self, *, quick: bool) -> dict[str, object]:
        """Return what the run showed. A quick one is too short to tell of memory and latency."""
        all_of_them = [*self.answers, *self.turns]
        wrong = [answer for answer in all_of_them if is_wrong(answer, self.history)]
        lost = Counter(answer.code for answer in all_of_them if answer.outcome == LOST)
        refused = Counter(answer.code for answer in self.answers if answer.outcome == REFUSED)
        outcomes = Counter(answer.outcome for answer in self.answers)
        growth_mib, slower = self.watch.growth_mib(), self.watch.slower(self.answers)
        outcome = {
            "asked": len(self.answers),
            "transcribed": outcomes[TRANSCRIBED],
            "refused": outcomes[REFUSED],
            "left": outcomes[LEFT],
            "lost": lost.total(),
            "wrong_domains": len(wrong),
            "hostile": self._hostile.sent,
            "live_turns": sum(turn.outcome == TRANSCRIBED for turn in self.turns),
            "changes": sum(map(len, self.history.changes.values())),
            "p50_s": quantile(self._times(), 0.5),
            "p99_s": quantile(self._times(), 0.99),
            "memory_growth_mib": growth_mib,
            "slower": slower,
        }
        steady = growth_mib <= MAX_GROWTH_MIB and slower is not None and slower <= MAX_SLOWER
        right = not wrong and not lost and not self.faults and not self.watch.held
        passed = right and outcomes[TRANSCRIBED] > 0 and (steady or quick)
        return {
            "passed": passed,
            "outcome": outcome,
            "refused_by_code": dict(refused),
            "lost_by_code": dict(lost),
            "faults": self.faults[:20],
            "held_at_the_end": self.watch.held,
            "windows": self.watch.windows(self.answers),
        }

    def _times(self) -> list[float]:
        return [answer.took_s for answer in self.answers if answer.outcome == TRANSCRIBED]


def is_wrong(answer: Answer, history: History) -> bool:
    """Return whether what a request got answered for its domain at no moment of it."""
    unknown = answer.code == "domain_not_found"
    if answer.outcome != TRANSCRIBED and not unknown:
        return False
    if answer.named != answer.domain and not unknown:
        return True
    if answer.domain is None:
        return answer.digest is not None
    return answer.digest not in history.possible(answer.domain, answer.began_s, answer.ended_s)


if __name__ == "__main__":
    sys.exit(main())
