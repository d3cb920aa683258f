"""Number of threads that a CPU computes with: the number asked for, or the fastest on this machine.

The quota of a container is read from its cgroup, because it does not show in the affinity mask and stops
threads only after a while. Where two hardware threads share a core, a measurement decides whether to use
both. Nothing else is measured: a machine busy at the start would leave the server with one thread for good.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

logger = logging.getLogger(__name__)

PROBE = (750, 384, 1536)  # vectors of a 30 s window, and a feed-forward weight of OWSM-0.1B
PRODUCTS = 5  # timed together
ROUNDS = 3  # the fastest counts, since other processes may slow some down
WORTH = 1.05  # speedup that more threads must bring; otherwise they are left to audio and HTTP
CGROUP = Path("/sys/fs/cgroup")
TOPOLOGY = Path("/sys/devices/system/cpu")


def use_threads(threads: int) -> int:
    """Set torch's number of threads and return it. 0 means OMP_NUM_THREADS, else the fastest number."""
    import torch

    if threads or "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(threads or fastest(_time_products, available(), cores()))
    return torch.get_num_threads()


def available(cgroup: Path = CGROUP) -> int:
    """Return how many CPUs this process may use: its affinity mask, within the quota of its container.

    The quota is read as the container sees it (cgroup v2's cpu.max, v1's cpu.cfs_quota_us) and rounded up.
    """
    allowed = len(os.sched_getaffinity(0))
    quota = _quota(cgroup)
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))


def _quota(cgroup: Path) -> float | None:
    """Return the quota in CPUs, or None without a limit."""
    try:
        limit, period = (cgroup / "cpu.max").read_text(encoding="ascii").split()
    except FileNotFoundError:
        v1 = [cgroup / "cpu" / f"cpu.cfs_{name}_us" for name in ("quota", "period")]
        if not all(path.is_file() for path in v1):
            return None
        limit, period = (path.read_text(encoding="ascii").strip() for path in v1)
    return None if limit in ("max", "-1") else int(limit) / int(period)


def cores(topology: Path = TOPOLOGY) -> int:
    """Return the number of cores in the affinity mask, or of its CPUs where sysfs has no topology."""
    allowed = os.sched_getaffinity(0)
    files = [topology / f"cpu{index}" / "topology" / "thread_siblings_list" for index in allowed]
    if not all(file.is_file() for file in files):
        return len(allowed)
    return len({file.read_text(encoding="ascii").strip() for file in files})


def fastest(seconds: Callable[[int], float], most: int, fewer: int) -> int:
    """Return `fewer`, unless `most` threads are faster by WORTH. `seconds` times a number of threads."""
    if fewer >= most:
        return most
    taken = {threads: seconds(threads) for threads in (most, fewer)}
    logger.info("%s", ", ".join(f"{threads} threads: {s * 1e3:.2f} ms" for threads, s in taken.items()))
    return most if taken[fewer] > WORTH * taken[most] else fewer


def _time_products(threads: int) -> float:
    """Return the seconds that a product of PROBE's shape takes."""
    import torch

    rows, inputs, outputs = PROBE
    torch.set_num_threads(threads)
    x, weight = torch.ones(rows, inputs), torch.ones(outputs, inputs)
    torch.nn.functional.linear(x, weight)  # starts the threads
    rounds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(PRODUCTS):
            torch.nn.functional.linear(x, weight)
        rounds.append((time.perf_counter() - began) / PRODUCTS)
    return min(rounds)
