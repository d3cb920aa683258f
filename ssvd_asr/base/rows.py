"""Rows of a decoder and their utterances. Rows of one utterance share its encoder output, without copies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor


class Rows:
    """R rows of U utterances, with one or more rows for each utterance. Begins with one row each.

    Data of an utterance is held once, (U, ...); data of a row is (R, ...). To combine the two, rows are
    spread over a grid (U, width, ...). An utterance with fewer rows has gaps in the grid.
    """

    def __init__(self, utterances: int, device: torch.device) -> None:
        self._device = device
        self.of: list[int]  # the utterance of each row
        self.utterances: int
        self.width: int  # most rows of an utterance
        self._index: Tensor | None  # `of` on the device, made when needed
        self._places: Tensor | None  # of each row in a grid (U x width); None if there are no gaps
        self._lay(range(utterances))

    def keep(self, rows: Sequence[int]) -> list[int] | None:
        """Keep these rows (R',) of the current ones, in this order. A row may occur several times.

        Returns:
            The utterances that are left, as indices of the current ones in their new order, or None if all
            are left in their old order.
        """
        of = [self.of[row] for row in rows]
        left = list(dict.fromkeys(of))
        if left == list(range(self.utterances)):
            self._lay(of)
            return None
        renamed = {utterance: new for new, utterance in enumerate(left)}
        self._lay([renamed[utterance] for utterance in of])
        return left

    def spread(self, x: Tensor) -> Tensor:
        """Spread (R, ...) over the grid (U, width, ...), with zeros in the gaps."""
        if self._places is None:
            return x.view(self.utterances, self.width, *x.shape[1:])
        grid = x.new_zeros(self.utterances * self.width, *x.shape[1:])
        grid[self._places] = x
        return grid.view(self.utterances, self.width, *x.shape[1:])

    def collect(self, grid: Tensor) -> Tensor:
        """Collect the grid (U, width, ...) back to (R, ...)."""
        flat = grid.reshape(self.utterances * self.width, *grid.shape[2:])
        return flat if self._places is None else flat[self._places]

    def each(self, x: Tensor) -> Tensor:
        """Return data of utterances (U, ...) for each row (R, ...)."""
        if self.width == 1 and self._places is None:
            return x
        if self._index is None:
            self._index = torch.tensor(self.of, device=self._device)
        return x[self._index]

    def _lay(self, of: Sequence[int]) -> None:
        self.of = list(of)
        self._index = None
        counts = Counter(self.of)
        self.utterances = len(counts)
        self.width = max(counts.values())
        met: Counter[int] = Counter()
        places = []
        for utterance in self.of:
            places.append(utterance * self.width + met[utterance])
            met[utterance] += 1
        whole = places == list(range(self.utterances * self.width))
        self._places = None if whole else torch.tensor(places, device=self._device)


def filled(rows: Sequence[int]) -> list[int]:
    """Order the rows that stay, given in any order, so that the last fill the places of those that leave.

    `Decoder.keep` copies least in this order: [0, 2, 4, 5] of six rows becomes [0, 5, 2, 4].
    """
    left = set(rows)
    others = iter(sorted((row for row in left if row >= len(left)), reverse=True))
    return [place if place in left else next(others) for place in range(len(left))]
