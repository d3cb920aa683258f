"""What waits is bounded, whole requests go in, quiet domains are not held up by busy ones, none starves."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.engine.queue import Scheduler, Waiting

WINDOW_S = 10.0


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def piece(
    item: str,
    domain: str | None = None,
    audio_s: float = 10,
    row_s: float = WINDOW_S,
    caller: str | None = None,
) -> Waiting[str]:
    return Waiting(item, item.partition("-")[0], domain, audio_s, row_s, caller)


def take(queue: Scheduler[str], rows: int = 1, domains: int = 99) -> list[str]:
    return queue.take(rows * WINDOW_S, domains)


@given(st.lists(st.lists(st.floats(0.1, 10), min_size=1, max_size=4), max_size=20), st.floats(1, 40))
def test_what_waits_never_exceeds_the_bound_and_nothing_is_lost_or_reordered(
    requests: list[list[float]], bound: float
) -> None:
    queue: Scheduler[str] = Scheduler(bound)
    accepted: list[str] = []
    for number, lengths in enumerate(requests):
        pieces = [piece(f"{number}-{index}", audio_s=length) for index, length in enumerate(lengths)]
        if queue.put(pieces, 1.0):
            accepted += [each.item for each in pieces]
        assert queue.waiting_s <= bound + 1e-9
    queue.close()
    taken: list[str] = []
    while batch := take(queue, 3):
        taken += batch
    assert sorted(taken) == sorted(accepted)
    for number in range(len(requests)):
        own = [item for item in accepted if item.startswith(f"{number}-")]
        assert [item for item in taken if item in own] == own
    assert queue.waiting_s == 0


def test_a_request_goes_in_whole_or_not_at_all() -> None:
    queue: Scheduler[str] = Scheduler(10)
    assert not queue.put([piece("a", audio_s=6), piece("b", audio_s=5)], 1.0)
    assert queue.waiting_s == 0
    assert queue.put([piece("c", audio_s=10)], 1.0)


def test_a_batch_holds_any_domains_up_to_its_audio() -> None:
    queue: Scheduler[str] = Scheduler(1000)
    queue.put(
        [piece(name, domain) for name, domain in zip("abcde", (None, "x", "y", "x", "z"), strict=True)], 1
    )
    assert sorted(take(queue, 4)) == ["a", "b", "c", "e"]  # d is the second of its domain
    assert take(queue, 4) == ["d"]


def test_a_batch_has_no_more_domains_than_slots_and_the_base_takes_none() -> None:
    queue: Scheduler[str] = Scheduler(1000)
    queue.put([piece(name, domain) for name, domain in zip("abcd", ("x", "y", "z", None), strict=True)], 1)
    assert take(queue, 8, domains=2) == ["a", "b", "d"]
    assert take(queue, 8, domains=2) == ["c"]


def test_a_piece_larger_than_a_batch_still_goes() -> None:
    queue: Scheduler[str] = Scheduler(1000)
    queue.put([piece("long", row_s=100), piece("next")], 1)
    assert take(queue) == ["long"]


def test_where_windows_may_be_short_batches_are_of_like_lengths_and_cost_what_they_pad() -> None:
    queue: Scheduler[str] = Scheduler(1000)
    lengths = {"a": 10, "b": 2, "c": 9, "d": 1.5, "e": 6}
    queue.put([piece(name, name, s, s) for name, s in lengths.items()], 1)
    assert queue.take(100, 99) == ["a", "c", "e"]
    assert queue.take(3.5, 99) == ["b"]  # with d it would be two rows of 2 s
    assert queue.take(3.5, 99) == ["d"]


def test_a_quiet_domain_goes_before_the_backlog_of_a_busy_one() -> None:
    queue: Scheduler[str] = Scheduler(10_000)
    queue.put([piece(f"hot-{index}", "hot") for index in range(100)], speed=1.0)
    queue.put([piece("cold", "cold")], speed=1.0)
    assert take(queue, 2) == ["hot-0", "cold"]


def test_a_short_request_goes_before_the_rest_of_a_long_one_of_its_own_domain() -> None:
    """One file of ten minutes held up every clip of a few seconds that came after it."""
    queue: Scheduler[str] = Scheduler(10_000)
    queue.put([piece(f"long-{index}") for index in range(100)], speed=1.0)
    queue.put([piece("short-0"), piece("short-1")], speed=1.0)
    assert queue.ahead_s(None) == 2 * WINDOW_S  # of each the first
    assert [take(queue)[0] for _ in range(5)] == ["long-0", "short-0", "long-1", "short-1", "long-2"]


@given(st.integers(1, 20))
def test_short_requests_without_end_hold_up_a_long_one_only_until_its_own_time(pieces: int) -> None:
    clock = Clock()
    queue: Scheduler[str] = Scheduler(10**9, clock)
    queue.put([piece(f"long-{index}") for index in range(pieces)], speed=WINDOW_S)
    taken: list[str] = []
    while f"long-{pieces - 1}" not in taken:
        queue.put([piece(f"short{len(taken)}")], speed=WINDOW_S)
        taken += take(queue)
        clock.now_s += 1.0
        assert len(taken) <= 2 * pieces


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 15), st.integers(1, 4))
def test_no_domain_starves_however_many_others_come(backlog: int, per_turn: int) -> None:
    """Domains without end, more than the device can do, hold a piece up only until its own turn."""
    clock = Clock()
    queue: Scheduler[str] = Scheduler(10**9, clock)
    queue.put([piece(f"old-{index}", "old") for index in range(backlog)], speed=WINDOW_S)
    last = f"old-{backlog - 1}"
    waiting, newcomers = backlog, 0
    for turn in range(backlog * (per_turn + 2) + 10):
        for _ in range(per_turn if turn < backlog else 0):  # after its turn nothing that comes goes before it
            newcomers += 1
            queue.put([piece(f"new{newcomers}", f"new{newcomers}")], speed=WINDOW_S)
            waiting += 1
        taken = take(queue)
        waiting -= 1
        clock.now_s += 1.0
        if taken == [last]:
            return
        queue.put([piece(f"late{turn}", f"late{turn}")], speed=WINDOW_S)  # for ever
    raise AssertionError(f"{last} was never reached")


def test_a_caller_with_many_requests_in_many_domains_does_not_hold_up_another() -> None:
    queue: Scheduler[str] = Scheduler(10_000, clock=lambda: 0.0)
    for number in range(100):
        queue.put([piece(f"a{number}", f"domain {number % 10}", caller="a")], speed=1.0)
    queue.put([piece("b0", "domain 3", caller="b")], speed=1.0)
    queue.put([piece("c0")], speed=1.0)  # without a key
    assert queue.ahead_s("domain 3", "b") == queue.ahead_s("new", "b") == 4 * WINDOW_S  # a0 a1 b0 c0
    assert queue.ahead_s("domain 3", "a") > 10 * WINDOW_S
    assert [take(queue)[0] for _ in range(3)] == ["a0", "b0", "c0"]


def test_callers_share_the_device_evenly_however_many_domains_each_uses() -> None:
    queue: Scheduler[str] = Scheduler(10_000, clock=lambda: 0.0)
    for number in range(12):
        queue.put([piece(f"wide{number}", f"domain {number}", caller="wide")], speed=1.0)
    for number in range(12):
        queue.put([piece(f"narrow{number}", "domain 0", caller="narrow")], speed=1.0)
    callers = [take(queue)[0].rstrip("0123456789") for _ in range(24)]
    for taken in range(2, 24, 2):
        assert callers[:taken].count("wide") == taken // 2


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.floats(1, 10)), max_size=30))
def test_a_caller_s_own_pieces_follow_each_other_as_if_it_were_alone(
    puts: list[tuple[str, str, float]],
) -> None:
    clock = Clock()
    queue: Scheduler[str] = Scheduler(10_000, clock)
    alone: Scheduler[str] = Scheduler(10_000, clock)
    for number, (caller, domain, row_s) in enumerate(puts):
        clock.now_s += 0.5
        queue.put([piece(f"{caller}-{number}", domain, row_s=row_s, caller=caller)], speed=1.0)
        if caller == "a":
            alone.put([piece(f"{caller}-{number}", domain, row_s=row_s, caller=caller)], speed=1.0)
    shares = [each.share_s for each in queue._waiting]
    assert shares == sorted(shares)
    own = [each.item for each in queue._waiting if each.caller == "a"]
    assert own == [each.item for each in alone._waiting]
    assert all(each.share_s >= each.turn_s for each in queue._waiting)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 12), st.integers(1, 3))
def test_no_caller_starves_however_many_others_come(backlog: int, per_turn: int) -> None:
    """New callers without end, each in a domain of its own, hold a piece up only until its own share."""
    clock = Clock()
    queue: Scheduler[str] = Scheduler(10**9, clock)
    for index in range(backlog):
        queue.put([piece(f"old{index}", f"domain {index % 3}", caller="old")], speed=WINDOW_S)
    newcomers = 0
    for turn in range(backlog * (per_turn + 2) + 10):
        for _ in range(per_turn if turn < backlog else 1):
            newcomers += 1
            new = piece(f"new{newcomers}", f"domain {newcomers}", caller=f"new{newcomers}")
            queue.put([new], speed=WINDOW_S)
        take(queue)
        clock.now_s += 1.0
        if not any(each.caller == "old" for each in queue._waiting):
            return
    raise AssertionError("the last piece was never reached")


def test_a_caller_s_pieces_move_up_when_one_of_its_requests_is_gone() -> None:
    clock = Clock()
    queue: Scheduler[str] = Scheduler(10_000, clock)
    queue.put([piece(f"gone-{index}", "x", caller="a") for index in range(50)], speed=1.0)
    queue.put([piece("kept-0", "y", caller="a"), piece("kept-1", "y", caller="a")], speed=1.0)
    clock.now_s = 1.0
    queue.put([piece(f"{index}-b", "z", caller="b") for index in range(50)], speed=1.0)
    queue.discard("gone")
    assert [take(queue)[0] for _ in range(4)] == ["kept-0", "0-b", "kept-1", "1-b"]


def test_what_is_discarded_is_not_taken_and_makes_room() -> None:
    queue: Scheduler[str] = Scheduler(40)
    queue.put([piece("gone-1", "x"), piece("gone-2", "x"), piece("kept", "x")], 1)
    queue.discard("gone")
    assert queue.waiting_s == 10
    assert queue.put([piece(name) for name in "abc"], 1)
    assert "kept" in take(queue, 9)


def test_a_domain_does_not_wait_for_a_backlog_whose_client_has_left() -> None:
    queue: Scheduler[str] = Scheduler(10_000)
    queue.put([piece(f"gone-{index}", "shared") for index in range(100)], speed=1.0)
    queue.put([piece("kept-0", "shared"), piece("kept-1", "shared")], speed=1.0)
    for index in range(50):
        queue.put([piece(f"{index}-other", "busy")], speed=1.0)
    assert take(queue) == ["gone-0"]
    queue.discard("gone")
    queue.put([piece("new", "shared")], speed=1.0)
    order = [take(queue)[0] for _ in range(8)]
    assert [item for item in order if not item.endswith("other")] == ["kept-0", "new", "kept-1"]


@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.sampled_from("ab"), st.sampled_from("xyz"), st.floats(1, 10)),
        max_size=30,
    )
)
def test_turns_after_a_request_is_gone_are_as_if_it_had_never_come(
    puts: list[tuple[int, str, str, float]],
) -> None:
    clock, other_clock = Clock(), Clock()
    queue: Scheduler[str] = Scheduler(10_000, clock)
    without: Scheduler[str] = Scheduler(10_000, other_clock)
    for number, (waited_s, owner, domain, row_s) in enumerate(puts):
        clock.now_s = other_clock.now_s = clock.now_s + waited_s
        queue.put([piece(f"{owner}-{number}", domain, row_s=row_s)], speed=1.0)
        if owner == "b":
            without.put([piece(f"{owner}-{number}", domain, row_s=row_s)], speed=1.0)
    queue.discard("a")
    turns = [each.turn_s for each in queue._waiting]
    assert turns == sorted(turns)
    assert {each.item: each.turn_s for each in queue._waiting} == {
        each.item: each.turn_s for each in without._waiting
    }
    assert queue._next == without._next


def test_what_is_ahead_of_a_piece_is_padded_and_has_its_turn_before() -> None:
    queue: Scheduler[str] = Scheduler(10_000)
    queue.put([piece(f"hot-{index}", "hot", audio_s=1) for index in range(9)], speed=1.0)
    queue.put([piece("cold-0", "cold", audio_s=1)], speed=1.0)
    assert queue.waiting_s == 10
    assert queue.padded_s == 10 * WINDOW_S
    assert queue.ahead_s("hot") == 2 * WINDOW_S  # the first hot one, and cold-0
    assert queue.ahead_s("cold") == 3 * WINDOW_S  # cold-0, and of the hot ones the first two
    assert queue.ahead_s("new") == 2 * WINDOW_S  # both have come before


def test_a_domain_of_which_nothing_waits_has_no_past() -> None:
    clock = Clock()
    queue: Scheduler[str] = Scheduler(10_000, clock)
    queue.put([piece(f"hot-{index}", "hot") for index in range(50)], speed=1.0)
    assert len(take(queue, 50)) == 50
    queue.put([piece("hot-again", "hot")], speed=1.0)
    queue.put([piece("cold", "cold")], speed=1.0)
    assert take(queue) == ["hot-again"]


def test_taking_waits_for_a_piece() -> None:
    queue: Scheduler[str] = Scheduler(10)
    taken: list[str] = []
    thread = threading.Thread(target=lambda: taken.extend(take(queue)))
    thread.start()
    queue.put([piece("late", audio_s=1)], 1)
    thread.join(10)
    assert taken == ["late"]


def test_closing_wakes_who_waits_and_refuses_more() -> None:
    queue: Scheduler[str] = Scheduler(10)
    taken: list[list[str]] = []
    thread = threading.Thread(target=lambda: taken.append(take(queue)))
    thread.start()
    queue.close()
    thread.join(10)
    assert taken == [[]]
    with pytest.raises(RuntimeError, match="closed"):
        queue.put([piece("a", audio_s=1)], 1)


def test_clearing_returns_what_waits() -> None:
    queue: Scheduler[str] = Scheduler(10)
    queue.put([piece("a", audio_s=1), piece("b", audio_s=2)], 1)
    assert queue.clear() == ["a", "b"]
    assert queue.waiting_s == 0


def test_blends_take_turns_as_the_domain_they_count_as_and_each_needs_a_slot() -> None:
    """A client that varies the weights gets no more turns than one that does not."""
    queue: Scheduler[str] = Scheduler(10_000, clock=lambda: 0.0)
    for number in range(6):
        blend = replace_blend(piece(f"a{number}", "a"), f"blend {number}")
        queue.put([blend], speed=1.0)
    queue.put([piece("b0", "b"), piece("b1", "b")], speed=1.0)
    assert take(queue, rows=4) == ["a0", "b0", "a1", "b1"]
    assert take(queue, rows=4, domains=2) == ["a2", "a3"]


def replace_blend(waiting: Waiting[str], blend: str) -> Waiting[str]:
    waiting.blend = blend
    return waiting
