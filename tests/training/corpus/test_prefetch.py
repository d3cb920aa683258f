"""Batches come in order, errors come where they belong, and no thread outlives its iterator."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from training.corpus.prefetch import prefetch


def running() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "prefetch"]


def test_results_come_in_order() -> None:
    assert list(prefetch(partial(int, i) for i in range(20))) == list(range(20))
    assert not running()


def test_an_error_is_raised_where_its_result_would_have_come() -> None:
    def broken() -> int:
        raise ValueError("third")

    results = prefetch([lambda: 1, lambda: 2, broken, lambda: 4])
    assert [next(results), next(results)] == [1, 2]
    with pytest.raises(ValueError, match="third"):
        next(results)
    assert not running()


def test_no_more_than_the_depth_is_built_ahead_and_closing_ends_the_thread() -> None:
    built: list[int] = []

    def builders() -> Iterator[Callable[[], int]]:
        for i in range(1000):
            yield lambda i=i: built.append(i) or i  # type: ignore[misc, func-returns-value]

    results = prefetch(builders(), depth=2)
    assert next(results) == 0
    results.close()
    assert not running()
    assert len(built) <= 5  # one taken, two waiting, one in hand, one that slipped in
