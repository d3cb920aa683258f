"""Cache of a decoder's keys and values at fixed addresses, shared by all batches."""

from __future__ import annotations

from torch import Tensor


class StaticCache:
    """Keys and values (axis 1) of the encoder output and of the tokens so far.

    `heard` is (layers, 2, U, heads, T, d / heads) and `said` (layers, 2, rows, heads, capacity, d / heads).
    Smaller batches use the beginning of the memory of the largest one. A batch that does not fit gets new
    memory and raises `generation`: recordings over the old memory are then invalid.
    """

    def __init__(self, layers: int, heads: int, d_k: int) -> None:
        self.generation = 0
        self._layers, self._heads, self._d_k = layers, heads, d_k
        self._heard: Tensor | None = None
        self._said: dict[int, Tensor] = {}  # by capacity

    def heard(self, utterances: int, frames: int, like: Tensor) -> Tensor:
        """Return memory for keys and values of U utterances of T frames, at the same address if they fit."""
        if self._heard is None or self._heard.shape[2] < utterances or self._heard.shape[4] != frames:
            self._heard = None
            shape = (self._layers, 2, utterances, self._heads, frames, self._d_k)
            self._heard = like.new_zeros(shape)
            self.generation += 1
        return self._heard[:, :, :utterances]

    def heard_again(self, utterances: int) -> Tensor:
        """Return the first `utterances` of the memory that `heard` returned."""
        assert self._heard is not None
        return self._heard[:, :, :utterances]

    def said(self, rows: int, capacity: int, like: Tensor) -> Tensor:
        """Return memory for `capacity` positions of `rows` rows, at the same address if they fit."""
        held = self._said.get(capacity)
        if held is None or held.shape[2] < rows:
            self._said.pop(capacity, None)
            del held
            shape = (self._layers, 2, rows, self._heads, capacity, self._d_k)
            held = self._said[capacity] = like.new_zeros(shape)
            self.generation += 1
        return held[:, :, :rows]


def move_rows(room: Tensor, chosen: Tensor, count: int) -> None:
    """Copy the first `count` positions of row chosen[i] to row i of room (layers, 2, rows, heads, T, d)."""
    part = room[:, :, :, :, :count]
    part[:, :, : len(chosen)].copy_(part.index_select(2, chosen))


def grown(room: Tensor, larger: Tensor, count: int) -> Tensor:
    """Copy the first `count` positions of all rows into `larger` and return it."""
    larger[..., :count, :].copy_(room[..., :count, :])
    return larger


def longer(capacity: int) -> int:
    """Return the next larger capacity."""
    return 2 * capacity
