"""What a step of training costs: its time, and its memory above what stood before the first one.

On a CPU the time is the processor's. Memory is measured in a process of its own whose large blocks go back to
the system when they are freed, so that the high-water mark is what was in use.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from training.session import Session

WARM_UP_STEPS, TIMED_STEPS = 4, 20
MEMORY_STEPS = 6
RETURNED = {"MALLOC_MMAP_THRESHOLD_": "65536"}  # bytes; mallopt(3)
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Gauge:
    """What is read before the first step, and after each."""

    before: Callable[[], float]
    after: Callable[[], float]


def step_seconds(session: Session) -> float:
    """Mean seconds of TIMED_STEPS steps of a run that is stopped then."""
    clock = _cuda_clock if session.base.device.type == "cuda" else time.process_time
    marks = _marks(session, WARM_UP_STEPS + TIMED_STEPS, Gauge(clock, clock))
    return (marks[-1] - marks[WARM_UP_STEPS]) / TIMED_STEPS


def step_bytes(session: Session) -> int:
    """What the largest of MEMORY_STEPS steps held beyond model, basis, adapter and data."""
    cuda = session.base.device.type == "cuda"
    marks = _marks(session, MEMORY_STEPS, CUDA_MEMORY if cuda else PROCESS_MEMORY)
    return round(marks[-1] - marks[0])


def _marks(session: Session, steps: int, gauge: Gauge) -> list[float]:
    marks: list[float] = []

    @contextmanager
    def guard() -> Iterator[Callable[[], bool]]:
        marks.append(gauge.before())

        def stop() -> bool:
            marks.append(gauge.after())
            return len(marks) > steps

        yield stop

    fitted = session.fit(guard)
    assert not fitted.outcome.finished  # nor validated
    return marks


def _cuda_clock() -> float:
    import torch

    torch.cuda.synchronize()
    return time.perf_counter()


def _status(name: str) -> float:
    """Bytes of a line of /proc/self/status."""
    found = re.search(rf"^{name}:\s*(\d+) kB", STATUS.read_text(encoding="ascii"), re.MULTILINE)
    assert found is not None
    return float(found[1]) * 1024


def _from_here() -> float:
    CLEAR.write_text("5", encoding="ascii")  # the high-water mark is now what is resident; proc(5)
    return _status("VmRSS")


def _cuda_from_here() -> float:
    import torch

    torch.cuda.reset_peak_memory_stats()
    return float(torch.cuda.memory_allocated())


def _cuda_high_water() -> float:
    import torch

    return float(torch.cuda.max_memory_allocated())


PROCESS_MEMORY = Gauge(_from_here, lambda: _status("VmHWM"))
CUDA_MEMORY = Gauge(_cuda_from_here, _cuda_high_water)
