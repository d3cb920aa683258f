"""Cores of one layer by slot: their layout in memory, and the gathering of those that a batch needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

import torch
from torch import Tensor
from torch.nn.functional import pad

from ssvd_asr.layer.linear import in_lanes
from ssvd_asr.mixing.compression import Compression, from_halves, halves

Parts = tuple[Tensor, ...]
Chosen = slice | Tensor


class LayerCores:
    """Slots for cores of at most (k, k), each padded with zeros. Not thread-safe."""

    def __init__(self, like: Tensor, slots: int, k: int, compression: Compression | None) -> None:
        """Allocate memory on the device and in the dtype of `like`."""
        self.k = k
        self.sizes = [0] * slots  # k of each slot; 0 where it has no core
        self._like = like
        self._compression = compression
        # D of every slot (slots, k, k), k in whole lanes; or (slots, k, rank) and (slots, rank, k), with the
        # two parts of compressed cores and the columns of smaller cores that are exact (`halves`).
        self.parts: Parts = tuple(like.new_zeros(shape) for shape in self._shapes(slots))

    @property
    def slot_nbytes(self) -> int:
        """Memory of one slot in bytes."""
        return sum(part[0].numel() for part in self.parts) * self._like.element_size()

    def core(self, slot: int) -> Tensor:
        """Return the core (k, k) of a slot; a view where it is stored whole."""
        size, parts = self.sizes[slot], [part[slot] for part in self.parts]
        if len(parts) == 1:
            return parts[0][:size, :size]
        if self._is_split(size):
            return parts[0][:size] @ parts[1][:, :size]
        return from_halves(*parts)[:size, :size]

    def rank(self, slots: Sequence[int]) -> int | None:
        """Return the rank of these slots' cores; None where one of them is not compressed."""
        if self._compression is None:  # this method runs at every call of a layer
            return None
        sizes = {self.sizes[slot] for slot in slots} - {0}
        return self._compression.rank if all(map(self._is_split, sizes)) else None

    def gather(self, slots: Sequence[int], chosen: Chosen, k: int) -> Parts:
        """Return the cores of these slots (S, k, k) or, if all are compressed, parts (S, k, r), (S, r, k).

        `chosen` is the result of `choose` for these slots. k is at least the size of their cores. For
        consecutive slots the results are views, unless compressed and exact cores are mixed.
        """
        parts = [part[chosen] for part in self.parts]
        if len(parts) == 1:
            return (parts[0][:, :k, :k],)
        left, right = parts[0][:, :k], parts[1][:, :, :k]
        if self.rank(slots) is not None:
            return left, right
        exact = from_halves(left, right)
        exact = pad(exact, (0, k - exact.shape[-1]))  # a negative width cuts columns off
        split = torch.tensor([self._is_split(self.sizes[slot]) for slot in slots], device=left.device)
        return (torch.where(split[:, None, None], left @ right, exact),)

    def parts_of(self, name: str, core: Tensor) -> Parts:
        """Return the parts in which a core is stored here.

        Raises AdapterError, naming the layer `name`, where the core would lose too much.
        """
        if self._compression is None or len(self.parts) == 1:
            return (core,)
        if self._is_split(len(core)):
            return self._compression.split(name, core)
        return halves(core, self._compression.rank)

    def put(self, slot: int, size: int, parts: Parts) -> None:
        """Store a core of this size, as `parts_of` gave it; size 0 and no parts leave the slot empty."""
        self.sizes[slot] = size
        for index, part in enumerate(self.parts):
            place = part[slot].zero_()
            if parts:
                new = parts[index]
                place[: new.shape[0], : new.shape[1]].copy_(new, non_blocking=True)

    def resize(self, slots: int, k: int, moves: Mapping[int, int]) -> None:
        """Change the number of slots and k; `moves` maps old to new slots of the cores that stay.

        k must be at least the size of those cores. They are copied on the device, or through the host where
        the device has no room for both. A failure leaves no cores here.
        """
        old, sizes = self.parts, self.sizes
        self.k, self.parts, self.sizes = k, (), [0] * slots
        new: Parts | None = None
        with suppress(torch.OutOfMemoryError):
            new = self._moved(old, slots, moves)
        if new is None:
            old = tuple(part.cpu() for part in old)
            new = tuple(part.to(self._like.device) for part in self._moved(old, slots, moves))
        self.parts = new
        for source, target in moves.items():
            self.sizes[target] = sizes[source]

    def _moved(self, old: Parts, slots: int, moves: Mapping[int, int]) -> Parts:
        """Return the parts in the new size, on the device of the old ones."""
        new = tuple(old[0].new_zeros(shape) for shape in self._shapes(slots))
        old = tuple(part[list(moves)] for part in old)
        if len(old) > len(new):
            old = (from_halves(*old),)
        elif len(old) < len(new):
            assert self._compression is not None
            old = halves(old[0], self._compression.rank)
        for before, after in zip(old, new, strict=True):
            rows, columns = map(min, zip(before.shape[1:], after.shape[1:], strict=True))
            after[list(moves.values()), :rows, :columns] = before[:, :rows, :columns]
        return new

    def _shapes(self, slots: int) -> tuple[tuple[int, int, int], ...]:
        k = in_lanes(self.k, self._like.device)
        if not self._is_split(self.k):
            return ((slots, k, k),)
        assert self._compression is not None
        return (slots, k, self._compression.rank), (slots, self._compression.rank, k)

    def _is_split(self, k: int) -> bool:
        return self._compression is not None and self._compression.pays(k)


def choose(slots: Sequence[int], device: torch.device) -> Chosen:
    """Return the index of these slots in a stack. Make it once: a GPU waits while an index is copied."""
    first, count = slots[0], len(slots)
    if tuple(slots) == tuple(range(first, first + count)):
        return slice(first, first + count)
    return torch.tensor(slots, device=device)
