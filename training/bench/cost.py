"""What training costs: a step's time (on a CPU the processor's) and memory, and the basis held beside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.bench.peak_memory import mark, peak

if TYPE_CHECKING:
    from ssvd_asr.basis.factors import LayerFactors
    from training.loop.run import Session

WARM_UP_STEPS, TIMED_STEPS = 4, 20
MEMORY_STEPS = 6


def step_seconds(session: Session) -> float:
    """Mean seconds of TIMED_STEPS steps of a run that is stopped then."""
    clock = _cuda_clock if session.base.device.type == "cuda" else time.process_time
    read = _readings(session, WARM_UP_STEPS + TIMED_STEPS, clock, clock)
    return (read[-1] - read[WARM_UP_STEPS]) / TIMED_STEPS


def step_bytes(session: Session) -> int:
    """What the largest of MEMORY_STEPS steps held beyond model, basis, adapter and data."""
    device = session.base.device
    read = _readings(session, MEMORY_STEPS, partial(mark, device), partial(peak, device))
    return round(read[-1] - read[0])


def basis_bytes(options: Mapping[str, Any], factors: Mapping[str, LayerFactors]) -> int:
    """Bytes of U_k and V_k of all layers in float32, as `methods.build` holds them for these options.

    0 for methods that leave whole weights: they have no basis.
    """
    from training.methods.build import new_adapter
    from training.methods.choices import MERGED
    from training.run_settings import RunSettings

    nowhere = Path()
    settings = RunSettings(domain="", data=nowhere, valid=nowhere, out=nowhere, **options)
    if settings.method in MERGED:
        return 0
    held = max(new_adapter(settings, factors).spans.values())
    return sum(4 * min(held, layer.rank) * sum(layer.shape) for layer in factors.values())


def _readings(
    session: Session, steps: int, before: Callable[[], float], after: Callable[[], float]
) -> list[float]:
    """What `before` says before the first step, and `after` after each of so many."""
    read: list[float] = []

    @contextmanager
    def guard() -> Iterator[Callable[[], bool]]:
        read.append(before())

        def stop() -> bool:
            read.append(after())
            return len(read) > steps

        yield stop

    fitted = session.fit(guard)
    assert not fitted.outcome.finished  # nor validated
    return read


def _cuda_clock() -> float:
    import torch

    torch.cuda.synchronize()
    return time.perf_counter()
