"""Optional compression, not exact: a core D (k, k) held as a product of rank r, at a stated error.

U_k and V_k have orthonormal columns, so W' has the same error as D: |W' - W'_r| = |D - D_r| (Frobenius).
Nothing is compressed unless a `Compression` is given. Whether a core then is depends on its own size alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ssvd_asr.errors import AdapterError


@dataclass(frozen=True)
class Compression:
    """Rank at which cores are held, and the share of |D| that a core may lose before it is refused."""

    rank: int
    relative_error: float

    def pays(self, k: int) -> bool:
        """Return whether two parts of a core (k, k) are smaller than the core, which is else held exactly."""
        return 2 * self.rank < k

    def check(self, name: str, core: Tensor) -> None:
        """Raise AdapterError for a core that would lose too much. A core held exactly always passes."""
        if self.pays(len(core)):
            self.split(name, core)

    def split(self, name: str, core: Tensor) -> tuple[Tensor, Tensor]:
        """Return the best parts (k, r) and (r, k) of a core (k, k) with r <= rank, in float32.

        Raises AdapterError, naming the layer `name`, where more than `relative_error` is lost.
        """
        left, s, right = torch.linalg.svd(core.detach().double(), full_matrices=False)
        lost = _lost(s, self.rank)
        if lost > self.relative_error:
            raise AdapterError(
                f"{name}: rank {self.rank} loses {lost:.2e} of its core of {len(s)}, the limit is "
                f"{self.relative_error:.2e}; {needed_rank(core, self.relative_error)} would hold it"
            )
        root = s[: self.rank].sqrt()
        return (left[:, : self.rank] * root).float(), (root.unsqueeze(-1) * right[: self.rank]).float()


def halves(cores: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return the columns of cores (..., k, k), k <= 2 rank, as (..., k, rank) and, turned, (..., rank, k).

    A core held exactly is stored this way in the place of two parts. Either result may have less than `rank`.
    """
    return cores[..., :rank], cores[..., rank:].mT


def from_halves(left: Tensor, right: Tensor) -> Tensor:
    """Return (..., k, 2 rank), whose first k columns are the cores given to `halves`."""
    return torch.cat([left, right.mT], dim=-1)


def core_numbers(k: int, compression: Compression | None) -> int:
    """Return how many numbers the place of a core of at most (k, k) takes: k k, or 2 k r at rank r."""
    return 2 * k * compression.rank if compression is not None and compression.pays(k) else k * k


def needed_rank(core: Tensor, relative_error: float) -> int:
    """Return the smallest rank at which |D - D_r| <= relative_error |D| (Frobenius); 0 for a zero core."""
    s: Tensor = torch.linalg.svdvals(core.detach().double())
    return next(rank for rank in range(len(s) + 1) if _lost(s, rank) <= relative_error)


def _lost(s: Tensor, rank: int) -> float:
    whole = float(s.norm())
    return float(s[rank:].norm()) / whole if whole > 0.0 else 0.0
