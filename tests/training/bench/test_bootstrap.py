"""Intervals against what is known in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from training.bench.bootstrap import difference, interval


def test_the_interval_of_independent_words_is_the_binomials() -> None:
    errors = np.random.default_rng(1).binomial(10, 0.2, 400).tolist()
    low, high = interval(errors, [10] * 400)
    rate = sum(errors) / 4000
    spread = 1.96 * np.sqrt(np.var(errors) / 400) / 10  # normal approximation of the mean
    assert low == pytest.approx(rate - spread, abs=0.001)
    assert high == pytest.approx(rate + spread, abs=0.001)


def test_a_difference_knows_that_the_utterances_are_the_same() -> None:
    generator = np.random.default_rng(2)
    hard = generator.integers(0, 8, 300)  # errors differ a lot between utterances ...
    better = [int(max(0, each - 1)) for each in hard]  # ... and one method is always one better
    low, high = difference(better, hard.tolist(), [10] * 300)
    assert low < high < 0
    single = interval(hard.tolist(), [10] * 300)
    assert high - low < (single[1] - single[0]) / 2


def test_counts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="2 error counts for 3"):
        interval([1, 2], [3, 3, 3])
    with pytest.raises(ValueError, match="units with words"):
        interval([1], [0])
