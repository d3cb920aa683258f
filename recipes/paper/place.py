"""Rank of this process among several, read before they have connected.

For `--processes N`, Lightning Fabric starts the recipe's command N - 1 more times, with LOCAL_RANK set.
torchrun starts all at once, with RANK and WORLD_SIZE. Any other process runs alone.
"""

from __future__ import annotations

import os


def by_torchrun() -> bool:
    """Return whether torchrun started this process with others."""
    return "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ["WORLD_SIZE"]) > 1


def is_first(processes: int) -> bool:
    """Return whether this process, the first, prepares, writes and prints. `processes`: how many run."""
    if by_torchrun():
        return os.environ["RANK"] == "0"
    return processes == 1 or os.environ.get("LOCAL_RANK", "0") == "0"
