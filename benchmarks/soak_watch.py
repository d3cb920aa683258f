"""Memory and latency of a server over the windows of a soak, and what it holds at the end."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Mapping, Sequence

import httpx

from benchmarks.operations import quantile
from benchmarks.traffic import REFUSED, TRANSCRIBED, Answer
from tests.fire.metrics import HELD, numbers_of

WINDOWS = 20  # of the whole run
WARM_UP = 4  # windows, which are not compared
COMPARED = 4  # windows after the warm-up, and as many at the end
SETTLE_S = 60.0
MIB = 2**20


class Watch:
    """Samples of /metrics of one server."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.began_s = self.window_s = 0.0
        self.memory_mib: list[float] = []  # at the end of each window
        self.held: Mapping[str, float] = {}  # at the end, what is not 0

    async def run(self, until_s: float, seconds: float) -> None:
        """Take a sample at the end of each window, until then."""
        self.window_s = seconds / WINDOWS
        self.began_s = until_s - seconds
        async with httpx.AsyncClient(timeout=SETTLE_S) as client:
            for window in range(1, WINDOWS + 1):
                await asyncio.sleep(max(0.0, self.began_s + window * self.window_s - time.monotonic()))
                found = await self._numbers(client)
                self.memory_mib.append(found["process_resident_memory_bytes"] / MIB)

    async def settle(self) -> None:
        """Wait until the server holds nothing, and note what it still holds after a minute."""
        until_s = time.monotonic() + SETTLE_S
        async with httpx.AsyncClient(timeout=SETTLE_S) as client:
            while True:
                found = await self._numbers(client)
                self.held = {name: found[name] for name in HELD if found[name]}
                if not self.held or time.monotonic() > until_s:
                    return
                await asyncio.sleep(0.1)

    def growth_mib(self) -> float:
        """Return how much more memory the last windows have than those after the warm-up."""
        first, last = self.memory_mib[WARM_UP : WARM_UP + COMPARED], self.memory_mib[-COMPARED:]
        return round(statistics.median(last) - statistics.median(first), 1)

    def slower(self, answers: Sequence[Answer]) -> float | None:
        """Return the median latency of the last windows over that of those after the warm-up.

        None where nothing was transcribed in some of them.
        """
        first, last = (
            [each.took_s for each in answers if each.outcome == TRANSCRIBED and self._window(each) in windows]
            for windows in (range(WARM_UP, WARM_UP + COMPARED), range(WINDOWS - COMPARED, WINDOWS))
        )
        if not first or not last:
            return None
        return round(statistics.median(last) / statistics.median(first), 3)

    def windows(self, answers: Sequence[Answer]) -> list[dict[str, object]]:
        """Return a row for each window, of the answers that it brought."""
        rows: list[dict[str, object]] = []
        for window, memory_mib in enumerate(self.memory_mib):
            here = [each for each in answers if self._window(each) == window]
            times = [each.took_s for each in here if each.outcome == TRANSCRIBED]
            rows.append(
                {
                    "until_s": round((window + 1) * self.window_s, 1),
                    "transcribed": len(times),
                    "refused": sum(each.outcome == REFUSED for each in here),
                    "p50_s": quantile(times, 0.5),
                    "p95_s": quantile(times, 0.95),
                    "memory_mib": round(memory_mib, 1),
                }
            )
        return rows

    def _window(self, answer: Answer) -> int:
        return int((answer.ended_s - self.began_s) / self.window_s)

    async def _numbers(self, client: httpx.AsyncClient) -> dict[str, float]:
        found: dict[str, float] = numbers_of((await client.get(f"{self._url}/metrics")).text)
        return found
