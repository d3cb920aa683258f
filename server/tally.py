"""Counts and distributions of what the server does, without any library: /metrics tells them.

Everything in the engine and the bank writes here, also where no HTTP server runs.
"""

from __future__ import annotations

import bisect
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter

from adapters_store.names import OTHER

Labels = tuple[str, ...]

MAX_NAMES = 100  # of domains as labels, so that a store of thousands does not make as many series

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
ROWS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)


@dataclass(frozen=True)
class Measure:
    """A count, or with `bounds` a distribution. `labels` are the names of its labels.

    Attributes:
        name: as /metrics has it, with its unit at the end, without `_total`.
        bounds: the upper bounds of the distribution's buckets.
    """

    name: str
    help: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()


@dataclass
class Distribution:
    """How often values fell into each bucket, the last one without a bound, and their sum."""

    counts: list[int]
    total: float = 0.0

    def add(self, value: float, bounds: Sequence[float]) -> None:
        """Count a value."""
        self.counts[bisect.bisect_left(bounds, value)] += 1
        self.total += value


@dataclass
class Tally:
    """The numbers since the start. Thread-safe."""

    _counts: dict[tuple[Measure, Labels], float] = field(default_factory=dict)
    _spread: dict[tuple[Measure, Labels], Distribution] = field(default_factory=dict)
    _names: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def label(self, name: str) -> str:
        """Return a name as a label: itself, or OTHER if MAX_NAMES have been told."""
        with self._lock:
            if name not in self._names and len(self._names) >= MAX_NAMES:
                return OTHER
            self._names.add(name)
            return name

    def add(self, measure: Measure, value: float = 1.0, *labels: str) -> None:
        """Add to a count, or a value to a distribution."""
        with self._lock:
            if not measure.bounds:
                self._counts[measure, labels] = self._counts.get((measure, labels), 0.0) + value
                return
            found = self._spread.get((measure, labels))
            if found is None:
                found = self._spread[measure, labels] = Distribution([0] * (len(measure.bounds) + 1))
            found.add(value, measure.bounds)

    @contextmanager
    def timing(self, measure: Measure) -> Iterator[None]:
        """Add the seconds that the block takes, if it does not fail."""
        began = perf_counter()
        yield
        self.add(measure, perf_counter() - began)

    def counts(self, measure: Measure) -> Mapping[Labels, float]:
        """Return a count by its labels; 0 where it has none and nothing was added."""
        with self._lock:
            found = {labels: value for (each, labels), value in self._counts.items() if each == measure}
        return found or ({(): 0.0} if not measure.labels else {})

    def spread(self, measure: Measure) -> Mapping[Labels, Distribution]:
        """Return a distribution by its labels, a copy."""
        with self._lock:
            return {
                labels: Distribution(list(value.counts), value.total)
                for (each, labels), value in self._spread.items()
                if each == measure
            }


BATCHES = Measure("ssvd_batch_rows", "Rows decoded together.", bounds=ROWS)
BATCH_DOMAINS = Measure("ssvd_batch_domains", "Domains in one batch, the base not counted.", bounds=ROWS)
DEVICE_SECONDS = Measure("ssvd_device_seconds", "Time the device has spent decoding.")
DECODED_SECONDS = Measure("ssvd_decoded_audio_seconds", "Audio decoded, before padding.")
PADDED_SECONDS = Measure("ssvd_padded_audio_seconds", "Audio decoded, padding included.")
QUEUE_SECONDS = Measure("ssvd_queue_seconds", "Wait of a piece for the device.", bounds=SECONDS)
PIECES = Measure("ssvd_pieces", "Pieces decoded, by the search that found their words.", ("search",))
FAILED_BATCHES = Measure("ssvd_failed_batches", "Batches that failed and were run again in halves.")
HOST_HITS = Measure("ssvd_bank_host_hits", "Leases of a domain that was in host memory.")
HOST_LOADS = Measure("ssvd_bank_load_seconds", "Reading and checking a domain's file.", bounds=SECONDS)
HOST_EVICTIONS = Measure("ssvd_bank_host_evictions", "Domains that left host memory.")
SLOT_HITS = Measure("ssvd_bank_slot_hits", "Domains of batches that were in a slot.")
SLOT_SWAPS = Measure("ssvd_bank_swap_seconds", "Putting a domain into a slot of the device.", bounds=SECONDS)
SLOT_EVICTIONS = Measure("ssvd_bank_slot_evictions", "Domains that left their slot.")
REFUSED_DOMAINS = Measure("ssvd_bank_fallbacks", "Leases of an earlier version for a refused one.")
REQUESTS = Measure("ssvd_requests", "Answered requests.", ("route", "status", "domain", "code"))
REQUEST_SECONDS = Measure(
    "ssvd_request_seconds", "Time to the whole answer.", ("route", "status", "domain"), SECONDS
)
AUDIO_SECONDS = Measure("ssvd_request_audio_seconds", "Audio of answered requests.", ("status", "domain"))
TURNS = Measure("ssvd_live_turns", "Completed turns of live sessions.", ("domain",))

MEASURES = tuple(each for each in list(globals().values()) if isinstance(each, Measure))


def table() -> str:
    """Return the table of docs/serving.md. A distribution has _bucket, _sum and _count."""
    rows = [
        f"| `{each.name}{'' if each.bounds else '_total'}` | {each.help} | {', '.join(each.labels)} |"
        for each in MEASURES
    ]
    return "\n".join(["| number | what | labels |", "|---|---|---|", *rows])


if __name__ == "__main__":
    print(table())
