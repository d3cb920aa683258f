"""Positions of a decoder's rows. Shorter prompts are padded in front, so that all rows advance together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Positions:
    """Positions of R rows, equally many for each. A row with a shorter prompt begins with padding."""

    def __init__(self, rows: int, device: torch.device) -> None:
        self.count = 0  # so far, padding included
        self._device = device
        self._set([0] * rows)

    def pad(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """Begin the rows with these prompts, and return their padded tokens (R, L), int64."""
        longest = max(map(len, prompts))
        self._set([longest - len(prompt) for prompt in prompts])
        return torch.tensor(
            [[0] * (longest - len(prompt)) + list(prompt) for prompt in prompts], device=self._device
        )

    def places(self, length: int) -> Tensor | slice:
        """Return the next positions without padding: (R, length), int64, or a slice if no row is padded."""
        end = self.count + length
        if self._padded is None:
            return slice(self.count, end)
        return (torch.arange(self.count, end, device=self._device) - self._padded).clamp(min=0)

    def hidden(self, length: int) -> Tensor | None:
        """Return a mask of the keys that the next queries must not see, or None if they see all.

        The mask is (R or 1, 1, length or 1, time), bool. A query on padding sees no key. It weighs all keys
        alike, and its result is not used.
        """
        time = self.count + length
        hidden = None
        if length > 1:
            every = torch.ones(length, time, dtype=torch.bool, device=self._device)
            hidden = every.triu(1 + self.count)[None, None]
        if self._padded is not None:
            padding = (torch.arange(time, device=self._device) < self._padded)[:, None, None]
            hidden = padding if hidden is None else hidden | padding
        return hidden

    def keep(self, rows: Sequence[int]) -> int:
        """Keep these rows (R',), drop the padding that all of them have, and return its length."""
        padding = [self._padding[row] for row in rows]
        common = min(padding)
        self.count -= common
        self._set([each - common for each in padding])
        return common

    def _set(self, padding: Sequence[int]) -> None:
        self._padding = padding
        # (R, 1) on the device; None in the usual case of no padding.
        self._padded = torch.tensor(padding, device=self._device).unsqueeze(1) if any(padding) else None
