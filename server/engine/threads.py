"""How many threads a CPU computes with: as asked for, or what this machine is fastest with.

A container's quota shows in no affinity mask, and stops threads only after a while: it is read. Where two
hardware threads share a core, whether both are worth it is measured; nowhere else, lest a machine that is
busy when the server starts leaves it with one thread for good.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

logger = logging.getLogger(__name__)

PROBE = (750, 384, 1536)  # vectors of a 30 s window by a feed-forward weight of OWSM-0.1B
PRODUCTS = 5  # timed together
ROUNDS = 3  # of which the fastest counts: others may be on the machine
WORTH = 1.05  # more threads must be so much faster; the rest is left to audio and HTTP
CGROUP = Path("/sys/fs/cgroup")
TOPOLOGY = Path("/sys/devices/system/cpu")


def use_threads(threads: int) -> int:
    """Have torch compute on so many threads; 0: OMP_NUM_THREADS, else the fastest number. Returns it."""
    import torch

    if threads or "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(threads or fastest(_time_products, available(), cores()))
    return torch.get_num_threads()


def available(cgroup: Path = CGROUP) -> int:
    """Cores that this process may use: its affinity mask, within the quota of its container.

    The quota is the one that the container itself sees (cgroup v2's cpu.max, v1's cpu.cfs_quota_us), rounded
    up.
    """
    allowed = len(os.sched_getaffinity(0))
    quota = _quota(cgroup)
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))


def _quota(cgroup: Path) -> float | None:
    """Cores; None where there is no limit."""
    try:
        limit, period = (cgroup / "cpu.max").read_text(encoding="ascii").split()
    except FileNotFoundError:
        v1 = [cgroup / "cpu" / f"cpu.cfs_{name}_us" for name in ("quota", "period")]
        if not all(path.is_file() for path in v1):
            return None
        limit, period = (path.read_text(encoding="ascii").strip() for path in v1)
    return None if limit in ("max", "-1") else int(limit) / int(period)


def cores(topology: Path = TOPOLOGY) -> int:
    """Cores behind the affinity mask, hardware threads of one counted once (Linux's sysfs; elsewhere all)."""
    allowed = os.sched_getaffinity(0)
    files = [topology / f"cpu{index}" / "topology" / "thread_siblings_list" for index in allowed]
    if not all(file.is_file() for file in files):
        return len(allowed)
    return len({file.read_text(encoding="ascii").strip() for file in files})


def fastest(seconds: Callable[[int], float], most: int, fewer: int) -> int:
    """`fewer` threads, unless `most` are faster by WORTH; `seconds` times a number of them."""
    if fewer >= most:
        return most
    taken = {threads: seconds(threads) for threads in (most, fewer)}
    logger.info("%s", ", ".join(f"{threads} threads: {s * 1e3:.2f} ms" for threads, s in taken.items()))
    return most if taken[fewer] > WORTH * taken[most] else fewer


def _time_products(threads: int) -> float:
    """Seconds of a product of PROBE's shape."""
    import torch

    rows, inputs, outputs = PROBE
    torch.set_num_threads(threads)
    x, weight = torch.ones(rows, inputs), torch.ones(outputs, inputs)
    torch.nn.functional.linear(x, weight)  # the threads are made
    rounds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(PRODUCTS):
            torch.nn.functional.linear(x, weight)
        rounds.append((time.perf_counter() - began) / PRODUCTS)
    return min(rounds)
