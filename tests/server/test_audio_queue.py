"""The queue is bounded in seconds, takes all of a request or nothing, and keeps its order."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.audio_queue import AudioQueue


@given(st.lists(st.lists(st.floats(0.1, 10), min_size=1, max_size=4), max_size=20), st.floats(1, 40))
def test_what_waits_never_exceeds_the_bound_and_nothing_is_lost_or_reordered(
    requests: list[list[float]], bound: float
) -> None:
    queue: AudioQueue[tuple[int, int]] = AudioQueue(bound)
    accepted: list[tuple[int, int]] = []
    for number, pieces in enumerate(requests):
        items = [((number, index), seconds) for index, seconds in enumerate(pieces)]
        if queue.put(items):
            accepted += [item for item, _ in items]
        assert queue.waiting_s <= bound + 1e-9
    queue.close()
    taken: list[tuple[int, int]] = []
    while batch := queue.take(3):
        taken += batch
    assert taken == accepted
    assert queue.waiting_s == 0


def test_a_request_goes_in_whole_or_not_at_all() -> None:
    queue: AudioQueue[str] = AudioQueue(10)
    assert not queue.put([("a", 6), ("b", 5)])
    assert queue.waiting_s == 0
    assert queue.put([("c", 10)])


def test_taking_waits_for_an_item() -> None:
    queue: AudioQueue[str] = AudioQueue(10)
    taken: list[str] = []
    thread = threading.Thread(target=lambda: taken.extend(queue.take()))
    thread.start()
    queue.put([("late", 1)])
    thread.join(10)
    assert taken == ["late"]


def test_closing_wakes_who_waits_and_refuses_more() -> None:
    queue: AudioQueue[str] = AudioQueue(10)
    taken: list[list[str]] = []
    thread = threading.Thread(target=lambda: taken.append(queue.take()))
    thread.start()
    queue.close()
    thread.join(10)
    assert taken == [[]]
    with pytest.raises(RuntimeError, match="closed"):
        queue.put([("a", 1)])


def test_clearing_returns_what_waits() -> None:
    queue: AudioQueue[str] = AudioQueue(10)
    queue.put([("a", 1), ("b", 2)])
    assert queue.clear() == ["a", "b"]
    assert queue.waiting_s == 0
