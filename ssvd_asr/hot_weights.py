"""Merged weights W' of the domains asked for most, within a budget of memory.

A W' is always built from the frozen W and one core, and dropped when its slot is written: nothing is ever
subtracted from a weight, so nothing drifts.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from torch import Tensor

DEFAULT_HOT_BYTES = 256 * 2**20  # all of OWSM-0.1B's linears in float32 are 300 MB
COOLING = 0.9  # what a row of the batch before last counts against one of the last


class HotWeights:
    """Thread-safe map from (layer, slot) to W'. The slots with most rows of late keep their place."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.nbytes = 0
        self._weights: dict[tuple[str, int], Tensor] = {}
        self._heat: dict[int, float] = {}
        self._lock = threading.Lock()

    def warm(self, slots: Iterable[int]) -> None:
        """Note a batch: the slot of each of its rows."""
        with self._lock:
            self._heat = {slot: heat * COOLING for slot, heat in self._heat.items() if heat > 1e-3}
            for slot in slots:
                self._heat[slot] = self._heat.get(slot, 0.0) + 1.0

    def get(self, layer: str, slot: int) -> Tensor | None:
        """Return W' (m, n) where it is held."""
        return self._weights.get((layer, slot))

    def would_take(self, slot: int, nbytes: int) -> bool:
        """Whether `offer` would find room, taking it from colder slots."""
        with self._lock:
            return self._room_for(slot, nbytes) is not None

    def offer(self, layer: str, slot: int, weight: Tensor) -> None:
        """Hold a W' if there is room, or colder slots make it."""
        size = weight.numel() * weight.element_size()
        with self._lock:
            if (layer, slot) in self._weights:
                return
            leaving = self._room_for(slot, size)
            if leaving is None:
                return
            for key in leaving:
                self._remove(key)
            self._weights[layer, slot] = weight
            self.nbytes += size

    def drop(self, slot: int) -> None:
        """Forget a slot, since another domain comes into it."""
        with self._lock:
            for key in [key for key in self._weights if key[1] == slot]:
                self._remove(key)
            self._heat.pop(slot, None)

    def _room_for(self, slot: int, nbytes: int) -> list[tuple[str, int]] | None:
        """What must leave for `nbytes` of this slot, coldest first; None where that is not enough."""
        free = self.max_bytes - self.nbytes
        leaving: list[tuple[str, int]] = []
        if free >= nbytes:
            return leaving
        own = self._heat.get(slot, 0.0)
        for key in sorted(self._weights, key=lambda key: self._heat.get(key[1], 0.0)):
            if self._heat.get(key[1], 0.0) >= own:
                return None
            leaving.append(key)
            weight = self._weights[key]
            free += weight.numel() * weight.element_size()
            if free >= nbytes:
                return leaving
        return None

    def _remove(self, key: tuple[str, int]) -> None:
        weight = self._weights.pop(key)
        self.nbytes -= weight.numel() * weight.element_size()
