"""How sure a word error rate is: percentile bootstrap (Bisani and Ney, ICASSP 2004).

Drawn are whole units, whatever the caller's counts are of: utterances, or voices where the errors of one
speaker's utterances go together.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

DRAWS = 10_000
LEVEL = 0.95


def interval(
    errors: Sequence[int], words: Sequence[int], *, draws: int = DRAWS, seed: int = 0
) -> tuple[float, float]:
    """The 95 % interval of sum(errors) / sum(words) over units drawn with replacement, as ratios.

    errors, words: of each unit. Deterministic for one seed.
    Raises ValueError where they are not one each, or there are no words at all.
    """
    rates = _rates(np.asarray(errors, float)[None], words, draws, seed)[0]
    low, high = np.quantile(rates, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def difference(
    errors: Sequence[int], others: Sequence[int], words: Sequence[int], *, draws: int = DRAWS, seed: int = 0
) -> tuple[float, float]:
    """The 95 % interval of rate(errors) - rate(others) on the same units, drawn together."""
    ours, theirs = _rates(np.asarray([errors, others], float), words, draws, seed)
    low, high = np.quantile(ours - theirs, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _rates(errors: np.ndarray, words: Sequence[int], draws: int, seed: int) -> np.ndarray:
    """Rates (S, draws) of error counts (S, U) over words (U,)."""
    counts = np.asarray(words, float)
    if errors.shape[-1] != len(counts) or not counts.sum() > 0:
        raise ValueError(f"{errors.shape[-1]} error counts for {len(counts)} units with words")
    drawn = np.random.default_rng(seed).integers(0, len(counts), (draws, len(counts)))
    rates: np.ndarray = errors[:, drawn].sum(-1) / counts[drawn].sum(-1)
    return rates
