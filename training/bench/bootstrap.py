"""Confidence intervals of word error rates by percentile bootstrap (Bisani and Ney, ICASSP 2004).

The bootstrap draws whole units. The caller chooses them: utterances, or voices if the errors of one speaker's
utterances are correlated.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

DRAWS = 10_000
LEVEL = 0.95


def interval(
    errors: Sequence[int], words: Sequence[int], *, draws: int = DRAWS, seed: int = 0
) -> tuple[float, float]:
    """Return the 95 % interval of sum(errors) / sum(words) over units drawn with replacement, as ratios.

    errors and words hold one count per unit. The result is deterministic for one seed.
    Raises ValueError if their lengths differ or there are no words at all.
    """
    rates = _rates(np.asarray(errors, float)[None], words, draws, seed)[0]
    low, high = np.quantile(rates, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def difference(
    errors: Sequence[int], others: Sequence[int], words: Sequence[int], *, draws: int = DRAWS, seed: int = 0
) -> tuple[float, float]:
    """Return the 95 % interval of rate(errors) - rate(others), drawing the same units for both."""
    ours, theirs = _rates(np.asarray([errors, others], float), words, draws, seed)
    low, high = np.quantile(ours - theirs, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _rates(errors: np.ndarray, words: Sequence[int], draws: int, seed: int) -> np.ndarray:
    """Return the rates (S, draws) of error counts (S, U) over words (U,)."""
    counts = np.asarray(words, float)
    if errors.shape[-1] != len(counts) or not counts.sum() > 0:
        raise ValueError(f"{errors.shape[-1]} error counts for {len(counts)} units with words")
    drawn = np.random.default_rng(seed).integers(0, len(counts), (draws, len(counts)))
    rates: np.ndarray = errors[:, drawn].sum(-1) / counts[drawn].sum(-1)
    return rates
