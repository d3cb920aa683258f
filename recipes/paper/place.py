"""Which of several processes this one is, told before they have met.

For `--processes N` Lightning Fabric starts the recipe's command again N - 1 times, with LOCAL_RANK set.
torchrun starts all of them at once, with RANK and WORLD_SIZE. Any other process is on its own.
"""

from __future__ import annotations

import os


def by_torchrun() -> bool:
    """Whether torchrun started this process beside others."""
    return "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ["WORLD_SIZE"]) > 1


def is_first(processes: int) -> bool:
    """Whether this one prepares, writes and prints: the first of all. `processes` is what was asked for."""
    if by_torchrun():
        return os.environ["RANK"] == "0"
    return processes == 1 or os.environ.get("LOCAL_RANK", "0") == "0"
