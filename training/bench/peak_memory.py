"""Peak memory from a moment on: the process's high-water mark on a CPU, the allocator's on CUDA.

On a CPU, measure in a process with RETURNED in its environment. Freed blocks then go back to the system at
once, so the mark shows the memory in use.
"""

from __future__ import annotations

import gc
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

RETURNED = {"MALLOC_MMAP_THRESHOLD_": "65536"}  # bytes; mallopt(3)


def mark(device: torch.device) -> int:
    """Reset the high-water mark and return the bytes in use."""
    import torch

    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # proc(5)
    return _status("VmRSS")


def peak(device: torch.device) -> int:
    """Return the most bytes in use since `mark`."""
    import torch

    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _status("VmHWM")


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))
