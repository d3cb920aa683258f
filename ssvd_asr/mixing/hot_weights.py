"""Cache of merged weights W' of the domains used most, within a memory limit.

A W' is always built from the frozen W and one core, and dropped when its slot is written. Nothing is
subtracted from a weight, so no error accumulates.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable

import torch
from torch import Tensor

CPU_HOT_BYTES = 256 * 2**20  # all of OWSM-0.1B's linears in float32 are 300 MB
CUDA_HOT_SHARE = 1 / 4  # of a GPU's memory; a domain of OWSM-1B in bfloat16 takes 2 GB
COOLING = 0.9  # factor on the heat of all slots at each batch
WARMER = 2.0  # times as hot as the slot that it displaces, so that equals do not alternate


def default_hot_bytes(device: torch.device) -> int:
    """Return the memory for merged weights on this device where none is given, in bytes."""
    if device.type != "cuda":
        return CPU_HOT_BYTES
    return int(CUDA_HOT_SHARE * torch.cuda.get_device_properties(device).total_memory)


class HotWeights:
    """Thread-safe map from (layer, slot) to W'. The slots with most rows in recent batches stay."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.nbytes = 0
        self._weights: dict[int, dict[str, Tensor]] = {}  # by slot, by layer
        self._bytes: dict[int, int] = {}  # of each slot in _weights
        self._heat: dict[int, float] = {}
        self._lock = threading.Lock()

    def warm(self, slots: Iterable[int]) -> None:
        """Record a batch by the slot of each of its rows."""
        with self._lock:
            self._heat = {slot: heat * COOLING for slot, heat in self._heat.items() if heat > 1e-3}
            for slot in slots:
                self._heat[slot] = self._heat.get(slot, 0.0) + 1.0

    def get(self, layer: str, slot: int) -> Tensor | None:
        """Return W' (m, n), or None where it is not held."""
        held = self._weights.get(slot)
        return held.get(layer) if held is not None else None

    def builds(self, layer: str, slots: Collection[int], nbytes: int, share: float) -> tuple[float, ...]:
        """Return the share of building a layer's W' (`nbytes`) that each slot's next call pays.

        0 where W' is held; `share` where `offer` would find room, also in place of slots at most half as hot;
        1 where each call would build it again.
        """
        with self._lock:
            if not self._weights:  # as in most decoder batches, which use many slots at a time
                return (share if nbytes <= self.max_bytes else 1.0,) * len(slots)
            return tuple(
                0.0 if layer in self._weights.get(slot, ())
                else share if self._free(slot, nbytes) >= nbytes
                else 1.0
                for slot in slots
            )  # fmt: skip

    def offer(self, layer: str, slot: int, weight: Tensor) -> None:
        """Hold a W' if there is room, dropping weights of colder slots where needed."""
        size = _nbytes(weight)
        with self._lock:
            held = self._weights.get(slot, {})
            if layer in held or self._free(slot, size) < size:
                return
            for other in sorted(self._colder(slot), key=lambda other: self._heat.get(other, 0.0)):
                while self._weights.get(other) and self.max_bytes - self.nbytes < size:
                    self._forget(other, next(iter(self._weights[other])))
            self._weights[slot] = {**held, layer: weight}
            self._bytes[slot] = self._bytes.get(slot, 0) + size
            self.nbytes += size

    def drop(self, slot: int) -> None:
        """Forget a slot's weights and heat, because another domain is written into it."""
        with self._lock:
            for layer in list(self._weights.get(slot, ())):
                self._forget(slot, layer)
            self._heat.pop(slot, None)

    def _free(self, slot: int, nbytes: int) -> int:
        """Return the bytes that this slot may use: the free ones and, if too few, those of colder slots."""
        free = self.max_bytes - self.nbytes
        return free if free >= nbytes else free + sum(self._bytes[other] for other in self._colder(slot))

    def _colder(self, slot: int) -> list[int]:
        own = self._heat.get(slot, 0.0)
        return [
            other for other in self._weights if self._heat.get(other, 0.0) * WARMER <= own and other != slot
        ]

    def _forget(self, slot: int, layer: str) -> None:
        size = _nbytes(self._weights[slot].pop(layer))
        self.nbytes -= size
        self._bytes[slot] -= size
        if not self._weights[slot]:
            del self._weights[slot], self._bytes[slot]


def _nbytes(weight: Tensor) -> int:
    return weight.numel() * weight.element_size()
