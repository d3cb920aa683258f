"""Runs on the tiny base and the corpus of tones: how they are asked for, interrupted and read."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from training.loop.interrupt import Stop
from training.loop.run import Session

# 4 batches and 2 steps an epoch; dropout and masks on, so that random numbers matter.
RECIPE: dict[str, object] = {
    "epochs": 2,
    "min_batches_per_epoch": 4,
    "max_batches_per_epoch": 4,
    "batch_audio_s": 8.0,
    "accumulation": 2,
    "joined_share": 1.0,  # the shortest two clips fit one row
    "lr": 1e-2,
    "dropout": 0.1,
    "freq_mask_share": 0.2,
    "time_mask_share": 0.1,
}
MakeSession = Callable[..., Session]


def after(steps: int) -> Callable[[], AbstractContextManager[Stop]]:
    """Stop when asked for the ``steps``-th time."""
    left = [steps]

    def stop() -> bool:
        left[0] -= 1
        return left[0] == 0

    return lambda: nullcontext(stop)


def events(folder: Path) -> list[dict[str, Any]]:
    """The log without the clock's readings."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "audio_s_per_s"} for line in lines]
