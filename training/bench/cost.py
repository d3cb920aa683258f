"""Cost of training: time (on a CPU, processor time) and memory of a step, and memory of the basis."""

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
    """Return the mean seconds of TIMED_STEPS steps, then stop the run."""
    clock = _cuda_clock if session.base.device.type == "cuda" else time.process_time
    read = _readings(session, WARM_UP_STEPS + TIMED_STEPS, clock, clock)
    return (read[-1] - read[WARM_UP_STEPS]) / TIMED_STEPS


def step_bytes(session: Session) -> int:
    """Return the peak bytes of MEMORY_STEPS steps beyond model, basis, adapter and data."""
    device = session.base.device
    read = _readings(session, MEMORY_STEPS, partial(mark, device), partial(peak, device))
    return round(read[-1] - read[0])


def basis_bytes(options: Mapping[str, Any], factors: Mapping[str, LayerFactors]) -> int:
    """Return the bytes of U_k and V_k of all layers in float32, as `methods.build` holds them.

    0 for methods that write whole weights, since they have no basis.
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
    """Return the value of `before` before the first step, and of `after` after each of ``steps`` steps."""
    read: list[float] = []

    @contextmanager
    def guard() -> Iterator[Callable[[], bool]]:
        read.append(before())

        def stop() -> bool:
            read.append(after())
            return len(read) > steps

        yield stop

    fitted = session.fit(guard)
    assert not fitted.outcome.finished  # and not validated
    return read


def _cuda_clock() -> float:
    import torch

    torch.cuda.synchronize()
    return time.perf_counter()
