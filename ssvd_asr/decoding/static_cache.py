"""Keys and values of a decoder in memory that stays where it is, whatever batch is decoded."""

from __future__ import annotations

from torch import Tensor


class StaticCache:
    """What was heard, (layers, 2, U, heads, T, d / heads), and what was said, (layers, 2, rows, heads, ...).

    Smaller batches use the beginning of what the largest one took. Memory is taken anew, and `generation`
    rises, where a batch is larger than all before it: what was recorded over the old memory is void.
    """

    def __init__(self, layers: int, heads: int, d_k: int) -> None:
        self.generation = 0
        self._layers, self._heads, self._d_k = layers, heads, d_k
        self._heard: Tensor | None = None
        self._said: dict[int, Tensor] = {}  # by capacity

    def heard(self, utterances: int, frames: int, like: Tensor) -> Tensor:
        """Room for what is projected from U utterances of T frames; the same place for the same sizes."""
        if self._heard is None or self._heard.shape[2] < utterances or self._heard.shape[4] != frames:
            self._heard = None
            shape = (self._layers, 2, utterances, self._heads, frames, self._d_k)
            self._heard = like.new_zeros(shape)
            self.generation += 1
        return self._heard[:, :, :utterances]

    def heard_again(self, utterances: int) -> Tensor:
        """The first `utterances` of what `heard` gave."""
        assert self._heard is not None
        return self._heard[:, :, :utterances]

    def said(self, rows: int, capacity: int, like: Tensor) -> Tensor:
        """Room for `capacity` positions of so many rows; the same place for the same sizes."""
        held = self._said.get(capacity)
        if held is None or held.shape[2] < rows:
            self._said.pop(capacity, None)
            del held
            shape = (self._layers, 2, rows, self._heads, capacity, self._d_k)
            held = self._said[capacity] = like.new_zeros(shape)
            self.generation += 1
        return held[:, :, :rows]


def move_rows(room: Tensor, chosen: Tensor, count: int) -> None:
    """Let row i of room (layers, 2, rows, heads, time, d) have row chosen[i]'s first `count` positions."""
    part = room[:, :, :, :, :count]
    part[:, :, : len(chosen)].copy_(part.index_select(2, chosen))


def grown(room: Tensor, larger: Tensor, count: int) -> Tensor:
    """The first `count` positions of all rows in a larger room."""
    larger[..., :count, :].copy_(room[..., :count, :])
    return larger


def longer(capacity: int) -> int:
    """The next capacity."""
    return 2 * capacity
