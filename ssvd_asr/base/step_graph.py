"""Steps of a decoder, recorded once as CUDA graphs and replayed.

A step is hundreds of short kernels. Launching them one by one takes the host longer than the device needs for
them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch.cuda import _POOL_HANDLE

MAX_GRAPHS = 64  # kept at a time, about a megabyte each; the least recently used one is dropped
WARM_UP = 1  # runs before a recording, in which libraries choose kernels and allocate memory


class StepGraphs:
    """Recorded steps by key. On other devices than CUDA a step runs each time."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._recorded: OrderedDict[Hashable, torch.cuda.CUDAGraph] = OrderedDict()
        self._pool: _POOL_HANDLE | None = None  # memory shared by all, since one runs at a time

    def run(self, key: Hashable, step: Callable[[], None]) -> None:
        """Run `step`, or replay its recording under this key.

        `step` must read and write tensors at fixed addresses, and running it twice must have the same effect
        as running it once.
        """
        if self._device.type != "cuda":
            step()
            return
        found = self._recorded.get(key)
        if found is None:
            found = self._record(step)
            while len(self._recorded) >= MAX_GRAPHS:
                self._recorded.popitem(last=False)
            self._recorded[key] = found
        self._recorded.move_to_end(key)
        found.replay()

    def clear(self) -> None:
        """Forget all recordings, because the memory that they read has moved."""
        self._recorded.clear()
        self._pool = None

    def _record(self, step: Callable[[], None]) -> torch.cuda.CUDAGraph:
        stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                step()
        torch.cuda.current_stream(self._device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # thread_local: other threads load adapters during a recording.
        with torch.cuda.graph(graph, pool=self._pool, stream=stream, capture_error_mode="thread_local"):
            step()
        self._pool = graph.pool()
        return graph
