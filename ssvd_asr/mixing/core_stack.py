"""Stack of the cores of many domains: each layer holds them by slot, and each row of a batch names a slot.

Slot 0 is the base: zeros, never written. A domain is written into a slot that no batch reads. Any number of
rows can read one slot.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from ssvd_asr.errors import AdapterError
from ssvd_asr.layer.linear import AdaptedLinear
from ssvd_asr.mixing.compression import Compression, core_numbers
from ssvd_asr.mixing.hot_weights import HotWeights, default_hot_bytes
from ssvd_asr.mixing.layer_cores import Chosen, LayerCores

BASE_SLOT = 0


class CoreStack:
    """Slots for the cores of domains, on the device and in the working dtype of the layers.

    Cores of several sizes fit in: a smaller one is padded with zeros, which does not change it. The rows of a
    batch pay for the largest core among them. `hot` holds merged weights of the domains used most.

    One thread may run the model while another writes slots that no batch reads.
    """

    def __init__(
        self,
        layers: Mapping[str, AdaptedLinear],
        slots: int,
        k: int | Mapping[str, int],
        *,
        hot_bytes: int | None = None,
        compression: Compression | None = None,
    ) -> None:
        """Allocate `slots` slots, the base's slot 0 included.

        Args:
            layers: the layers of one adapted model, by name.
            k: the largest core of any layer, or by layer name (a layer left out takes no core). It is lowered
                to the number of directions that the layer holds.
            hot_bytes: limit on the memory for merged weights, by default `default_hot_bytes`; 0 keeps none
                from call to call.
            compression: hold cores at a lower rank where that is smaller; not exact.

        Raises AdapterError for fewer than 2 slots, an unknown layer, or a k below 1.
        """
        self.compression = compression
        device = next(iter(layers.values())).weight.device if layers else torch.device("cpu")
        self.hot = HotWeights(default_hot_bytes(device) if hot_bytes is None else hot_bytes)
        self._adapted = layers
        self._reading: list[frozenset[int]] = []  # the slots of each running batch
        self._lock = threading.Lock()
        sizes = self._checked(slots, dict.fromkeys(layers, k) if isinstance(k, int) else k)
        self.slots = slots
        self._layers = {name: self._new_layer(name, slots, size) for name, size in sizes.items()}

    @property
    def k(self) -> dict[str, int]:
        """The size of the largest core that a slot can have, by layer name."""
        return {name: layer.k for name, layer in self._layers.items()}

    @property
    def parts(self) -> dict[str, tuple[Tensor, ...]]:
        """The tensors that hold the cores of all slots, by layer name (see LayerCores)."""
        return {name: layer.parts for name, layer in self._layers.items()}

    @property
    def slot_nbytes(self) -> int:
        """Memory of one slot on the device, in bytes."""
        return sum(layer.slot_nbytes for layer in self._layers.values())

    def size(self, name: str, slot: int) -> int:
        """Return k of the core that `slot` has for layer `name`; 0 where it has none."""
        layer = self._layers.get(name)
        return layer.sizes[slot] if layer is not None else 0

    def sizes(self, name: str) -> Sequence[int]:
        """Return k of the cores of layer `name` by slot; 0 where a slot has none."""
        return self._layers[name].sizes

    def touched(self, slots: Sequence[int]) -> list[str]:
        """Return the names of the layers for which one of these slots has a core."""
        return [name for name, layer in self._layers.items() if any(layer.sizes[slot] for slot in slots)]

    def core(self, name: str, slot: int) -> Tensor:
        """Return the core (k, k) of `slot` for layer `name`; a view where it is stored whole."""
        return self._layers[name].core(slot)

    def rank(self, name: str, slots: Sequence[int]) -> int | None:
        """Return the rank of these slots' cores of layer `name`; None where one of them is not compressed."""
        return self._layers[name].rank(slots)

    def gather(self, name: str, slots: Sequence[int], chosen: Chosen, k: int) -> tuple[Tensor, ...]:
        """Return what `LayerCores.gather` returns for layer `name`."""
        return self._layers[name].gather(slots, chosen, k)

    def write(self, slot: int, cores: Mapping[str, Tensor]) -> None:
        """Replace all cores of `slot` by these; layers left out are the base's.

        Args:
            cores: (k', k') by layer name with k' at most `k[name]`, any dtype and device.

        Raises:
            AdapterError: slot 0, a slot that does not exist, an unknown layer, a core that does not fit, or
                one that the compression would change too much; nothing is changed then.
            RuntimeError: a batch is reading the slot.
        """
        if not BASE_SLOT < slot < self.slots:
            raise AdapterError(f"slot {slot} cannot be written: 1..{self.slots - 1} can, 0 is the base")
        for name, core in cores.items():
            if name not in self._layers:
                raise AdapterError(f"the stack has no layer {name!r}")
            k = self._layers[name].k
            if core.ndim != 2 or core.shape[0] != core.shape[1] or not 1 <= len(core) <= k:
                raise AdapterError(
                    f"{name}: a core of shape {tuple(core.shape)} is not (k, k) with 1 <= k <= {k}"
                )
        ready = {name: self._layers[name].parts_of(name, core) for name, core in cores.items()}
        with self._lock:
            if any(slot in slots for slots in self._reading):
                raise RuntimeError(f"slot {slot} is being read by a batch: write another one")
            self.hot.drop(slot)
            for name, layer in self._layers.items():
                layer.put(slot, len(cores[name]) if name in cores else 0, ready.get(name, ()))

    def clear(self, slot: int) -> None:
        """Remove all cores of `slot`, so that it is the base. Raises as `write` does."""
        self.write(slot, {})

    def resize(self, slots: int, k: Mapping[str, int], moves: Mapping[int, int]) -> None:
        """Change the number of slots and the sizes; `moves` maps old to new slots of the domains that stay.

        Layers are resized one by one, those that shrink first. Beside the larger of the old and new stack,
        the device holds at most one layer twice. After a failure midway, the stack must not be used.

        Raises:
            AdapterError: as the constructor, or a domain that stays does not fit; nothing is changed then.
            RuntimeError: a batch is reading.
        """
        sizes = self._checked(slots, k)
        for name, layer in self._layers.items():
            if any(layer.sizes[slot] > sizes.get(name, 0) for slot in moves):
                raise AdapterError(f"{name}: a core that stays is larger than k={sizes.get(name, 0)}")
        if not all(BASE_SLOT < slot < slots for slot in moves.values()):
            raise AdapterError(f"domains can only stay in slots 1..{slots - 1}, not {list(moves.values())}")
        with self._lock:
            if self._reading:
                raise RuntimeError("a batch is reading: the stack cannot be resized")
            for slot in range(self.slots):
                if moves.get(slot) != slot:
                    self.hot.drop(slot)
            before = {
                n: self.slots * core_numbers(layer.k, self.compression) for n, layer in self._layers.items()
            }
            after = {name: slots * core_numbers(size, self.compression) for name, size in sizes.items()}
            for name in sorted(before | after, key=lambda name: after.get(name, 0) - before.get(name, 0)):
                if name not in sizes:
                    del self._layers[name]
                elif name in self._layers:
                    self._layers[name].resize(slots, sizes[name], moves)
                else:
                    self._layers[name] = self._new_layer(name, slots, sizes[name])
            self.slots = slots

    @contextmanager
    def reading(self, slots: Sequence[int]) -> Iterator[None]:
        """Protect these slots from writing in this block. Raises AdapterError for one that does not exist."""
        held = frozenset(slots)
        if outside := sorted(slot for slot in held if not 0 <= slot < self.slots):
            raise AdapterError(f"slot {outside[0]} is not within 0..{self.slots - 1}")
        with self._lock:
            self._reading.append(held)
        try:
            yield
        finally:
            with self._lock:
                self._reading.remove(held)

    def _checked(self, slots: int, k: Mapping[str, int]) -> dict[str, int]:
        """Return `k` lowered to the directions that the layers hold. Raises as the constructor does."""
        if slots < 2:
            raise AdapterError(f"slots={slots}: slot 0 is the base, so a stack for domains has at least 2")
        if unknown := sorted(k.keys() - self._adapted.keys()):
            raise AdapterError(f"the model has no adapted layer {unknown[0]!r}")
        if small := [name for name, size in k.items() if size < 1]:
            raise AdapterError(f"{small[0]}: k={k[small[0]]} must be at least 1")
        return {name: min(size, self._adapted[name].rank) for name, size in k.items()}

    def _new_layer(self, name: str, slots: int, k: int) -> LayerCores:
        return LayerCores(self._adapted[name].ut, slots, k, self.compression)
