"""The cores of one layer, by slot: how they stand in memory, and how a batch gets those of its rows."""

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
    """Places for cores of at most (k, k), zeros behind each one's own size. Not thread-safe."""

    def __init__(self, like: Tensor, slots: int, k: int, compression: Compression | None) -> None:
        """Take memory of the device and dtype of `like`."""
        self.k = k
        self.sizes = [0] * slots  # k of each slot; 0 where it has no core
        self._like = like
        self._compression = compression
        # D of every slot (slots, k, k), k in whole lanes; or (slots, k, rank) and (slots, rank, k): the two
        # parts of cores that are compressed, and the columns of smaller ones, that are not (`halves`).
        self.parts: Parts = tuple(like.new_zeros(shape) for shape in self._shapes(slots))

    @property
    def slot_nbytes(self) -> int:
        """Memory of one slot."""
        return sum(part[0].numel() for part in self.parts) * self._like.element_size()

    def core(self, slot: int) -> Tensor:
        """The core (k, k) of a slot, a view where it stands as such."""
        size, parts = self.sizes[slot], [part[slot] for part in self.parts]
        if len(parts) == 1:
            return parts[0][:size, :size]
        if self._is_split(size):
            return parts[0][:size] @ parts[1][:, :size]
        return from_halves(*parts)[:size, :size]

    def rank(self, slots: Sequence[int]) -> int | None:
        """The rank of all the cores that these slots have; None where not all have one."""
        if self._compression is None:  # asked for at every call of a layer
            return None
        sizes = {self.sizes[slot] for slot in slots} - {0}
        return self._compression.rank if all(map(self._is_split, sizes)) else None

    def gather(self, slots: Sequence[int], chosen: Chosen, k: int) -> Parts:
        """The cores of these slots (S, k, k), or their parts (S, k, r), (S, r, k); k is at least theirs.

        chosen: of the same slots, by `choose`. Views where they follow each other.
        """
        parts = [part[chosen] for part in self.parts]
        if len(parts) == 1:
            return (parts[0][:, :k, :k],)
        left, right = parts[0][:, :k], parts[1][:, :, :k]
        if self.rank(slots) is not None:
            return left, right
        exact = from_halves(left, right)
        exact = pad(exact, (0, k - exact.shape[-1]))  # or cut off, where that is negative
        split = torch.tensor([self._is_split(self.sizes[slot]) for slot in slots], device=left.device)
        return (torch.where(split[:, None, None], left @ right, exact),)

    def parts_of(self, name: str, core: Tensor) -> Parts:
        """A core as it stands here. Raises AdapterError where it loses too much; `name` is the layer's."""
        if self._compression is None or len(self.parts) == 1:
            return (core,)
        if self._is_split(len(core)):
            return self._compression.split(name, core)
        return halves(core, self._compression.rank)

    def put(self, slot: int, size: int, parts: Parts) -> None:
        """Make this the slot's core, of what `parts_of` gave; no parts and size 0 where it has none."""
        self.sizes[slot] = size
        for index, part in enumerate(self.parts):
            place = part[slot].zero_()
            if parts:
                new = parts[index]
                place[: new.shape[0], : new.shape[1]].copy_(new, non_blocking=True)

    def resize(self, slots: int, k: int, moves: Mapping[int, int]) -> None:
        """Have other slots and another k, at least that of the cores that stay: from slot to slot, `moves`.

        On the device, or by way of the host where it has no room for both. What fails leaves no core here.
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
        """The parts of another size, on the device of the old ones."""
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
    """What picks these slots out of a stack: made once, since a GPU waits for an index to be copied."""
    first, count = slots[0], len(slots)
    if tuple(slots) == tuple(range(first, first + count)):
        return slice(first, first + count)
    return torch.tensor(slots, device=device)
