"""Where the cores of many domains stand side by side: one stacked tensor a layer; a row names its slot.

Slot 0 is the base: zeros, never written. A domain is written into a slot that nobody reads, and read by as
many rows as want it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn.functional import pad

from ssvd_asr.compression import Compression, from_halves, halves
from ssvd_asr.errors import AdapterError
from ssvd_asr.hot_weights import DEFAULT_HOT_BYTES, HotWeights
from ssvd_asr.linear import AdaptedLinear

BASE_SLOT = 0


class CoreStack:
    """`slots` places for a domain's cores on the device, in the working dtype of the layers.

    Cores of several sizes live together: a smaller one is padded with zeros, which changes nothing, and rows
    pay for the largest core among them only. `hot` holds merged weights of the domains asked for most.

    One thread may run the model while another writes slots that no batch reads.
    """

    def __init__(
        self,
        layers: Mapping[str, AdaptedLinear],
        slots: int,
        k: int | Mapping[str, int],
        *,
        hot_bytes: int = DEFAULT_HOT_BYTES,
        compression: Compression | None = None,
    ) -> None:
        """Take memory for `slots` domains, the base's slot 0 among them.

        Args:
            layers: by name, of one adapted model.
            k: the largest core of any layer, or by layer name (a layer left out takes no core); never more
                than the directions that the layer holds.
            hot_bytes: at most this much memory for merged weights; 0 keeps none from call to call.
            compression: hold those cores for which it pays at a lower rank, which is not exact.

        Raises AdapterError for fewer than 2 slots, an unknown layer, or a k below 1.
        """
        if slots < 2:
            raise AdapterError(f"slots={slots}: slot 0 is the base, so a stack for domains has at least 2")
        wanted = dict.fromkeys(layers, k) if isinstance(k, int) else dict(k)
        if unknown := sorted(wanted.keys() - layers.keys()):
            raise AdapterError(f"the model has no adapted layer {unknown[0]!r}")
        if small := [name for name, size in wanted.items() if size < 1]:
            raise AdapterError(f"{small[0]}: k={wanted[small[0]]} must be at least 1")
        self.slots = slots
        self.compression = compression
        self.k: Mapping[str, int] = {name: min(size, len(layers[name].ut)) for name, size in wanted.items()}
        self.hot = HotWeights(hot_bytes)
        # D of every slot (slots, k, k); or (slots, k, rank) and (slots, rank, k), which are the two parts of
        # cores that are compressed, and the columns of smaller ones, that are not (`halves`).
        self.parts: dict[str, tuple[Tensor, ...]] = {
            name: _zeros(layers[name].ut, slots, size, compression) for name, size in self.k.items()
        }
        self._sizes = {name: [0] * slots for name in self.k}  # k of each slot; 0 where it has no core
        self._reading: list[frozenset[int]] = []  # the slots of each batch that runs
        self._lock = threading.Lock()

    @property
    def slot_nbytes(self) -> int:
        """Memory of one slot on the device."""
        parts = [part for of_layer in self.parts.values() for part in of_layer]
        return sum(part[0].numel() * part.element_size() for part in parts)

    def size(self, name: str, slot: int) -> int:
        """k of the core that `slot` has for layer `name`; 0 where it has none."""
        sizes = self._sizes.get(name)
        return sizes[slot] if sizes is not None else 0

    def sizes(self, name: str) -> Sequence[int]:
        """k of layer `name` by slot, 0 where a slot has no core there."""
        return self._sizes[name]

    def touched(self, slots: Sequence[int]) -> list[str]:
        """Names of the layers for which one of these slots has a core."""
        return [name for name, sizes in self._sizes.items() if any(sizes[slot] for slot in slots)]

    def core(self, name: str, slot: int) -> Tensor:
        """The core (k, k) that `slot` applies to layer `name`, a view where it stands as such."""
        size = self.size(name, slot)
        parts = [part[slot] for part in self.parts[name]]
        if len(parts) == 1:
            return parts[0][:size, :size]
        whole = parts[0] @ parts[1] if self._is_split(size) else from_halves(*parts)
        return whole[:size, :size]

    def rank(self, name: str, slots: Sequence[int]) -> int | None:
        """The rank of all the cores that these slots have for layer `name`; None where not all have one."""
        sizes = {self.size(name, slot) for slot in slots} - {0}
        if self.compression is None or not all(self._is_split(size) for size in sizes):
            return None
        return self.compression.rank

    def gather(self, name: str, slots: Sequence[int], k: int) -> tuple[Tensor, ...]:
        """The cores of these slots (S, k, k), zeros behind their own k; or their parts (S, k, r), (S, r, k).

        A view where the slots follow each other. `k` is at least theirs.
        """
        parts = [_rows_of(part, slots) for part in self.parts[name]]
        if len(parts) == 1:
            return (parts[0][:, :k, :k],)
        left, right = parts[0][:, :k], parts[1][:, :, :k]
        if self.rank(name, slots) is not None:
            return left, right
        exact = from_halves(left, right)
        exact = pad(exact, (0, k - exact.shape[-1]))  # or cut off, where that is negative
        split = torch.tensor([self._is_split(self.size(name, slot)) for slot in slots], device=left.device)
        return (torch.where(split[:, None, None], left @ right, exact),)

    def write(self, slot: int, cores: Mapping[str, Tensor]) -> None:
        """Make `slot` this domain, entirely: a layer left out is the base's there.

        Args:
            cores: (k', k') by layer name with k' at most `k[name]`, any dtype and device.

        Raises:
            AdapterError: slot 0, a slot that is not there, an unknown layer, a core that does not fit, or
                one that the compression would change too much; nothing is changed then.
            RuntimeError: a batch is reading the slot.
        """
        if not BASE_SLOT < slot < self.slots:
            raise AdapterError(f"slot {slot} cannot be written: 1..{self.slots - 1} can, 0 is the base")
        for name, core in cores.items():
            if name not in self.k:
                raise AdapterError(f"the stack has no layer {name!r}")
            if core.ndim != 2 or core.shape[0] != core.shape[1] or not 1 <= len(core) <= self.k[name]:
                raise AdapterError(
                    f"{name}: a core of shape {tuple(core.shape)} is not (k, k) with 1 <= k <= {self.k[name]}"
                )
        ready = {name: self._parts_of(name, core) for name, core in cores.items()}
        with self._lock:
            if any(slot in slots for slots in self._reading):
                raise RuntimeError(f"slot {slot} is being read by a batch: write another one")
            self.hot.drop(slot)
            for name, parts in self.parts.items():
                self._sizes[name][slot] = len(cores[name]) if name in cores else 0
                for index, part in enumerate(parts):
                    place = part[slot].zero_()
                    if name in ready:
                        new = ready[name][index]
                        place[: new.shape[0], : new.shape[1]].copy_(new, non_blocking=True)

    def clear(self, slot: int) -> None:
        """Make `slot` the base. Raises as `write` does."""
        self.write(slot, {})

    @contextmanager
    def reading(self, slots: Sequence[int]) -> Iterator[None]:
        """Hold these slots against writing. Raises AdapterError for one that is not there."""
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

    def _parts_of(self, name: str, core: Tensor) -> tuple[Tensor, ...]:
        """A core as it stands in the layer's tensors."""
        if self.compression is None or len(self.parts[name]) == 1:
            return (core,)
        if self._is_split(len(core)):
            return self.compression.split(name, core)
        return halves(core, self.compression.rank)

    def _is_split(self, k: int) -> bool:
        return self.compression is not None and self.compression.pays(k)


def _rows_of(part: Tensor, slots: Sequence[int]) -> Tensor:
    """part[slots]; a view where the slots follow each other."""
    first, count = slots[0], len(slots)
    if tuple(slots) == tuple(range(first, first + count)):
        return part[first : first + count]
    return part[torch.tensor(slots, device=part.device)]


def _zeros(like: Tensor, slots: int, k: int, compression: Compression | None) -> tuple[Tensor, ...]:
    if compression is None or not compression.pays(k):
        return (like.new_zeros(slots, k, k),)
    return like.new_zeros(slots, k, compression.rank), like.new_zeros(slots, compression.rank, k)
