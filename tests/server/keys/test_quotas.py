"""Quotas: what is accepted is charged, what is refused is not, and no race goes over."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.errors import ApiError
from server.keys.caller import Caller
from server.keys.quotas import HEADERS, QuotaError, Quotas, charged_s


def caller(name: str | None = "a", **limits: int) -> Caller:
    return Caller(name, "transcribe", frozenset(), **limits)


def left(quotas: Quotas, who: Caller) -> int:
    return int(quotas.headers(who)[HEADERS[1]])


@given(st.lists(st.tuples(st.integers(1, 40), st.booleans()), max_size=20), st.integers(1, 100))
def test_what_is_charged_is_what_was_accepted_and_never_over_the_limit(
    asked: list[tuple[int, bool]], limit: int
) -> None:
    quotas, who = Quotas(), caller(audio_s_per_hour=limit)
    used = 0
    for seconds, accepted in asked:
        if seconds > limit:
            with pytest.raises(ApiError) as never, quotas.charging(who, seconds):
                raise AssertionError("it was let in")
            assert (never.value.status, never.value.code) == (422, "audio_too_long")
            continue
        if seconds > limit - used:
            with pytest.raises(QuotaError) as refusal, quotas.charging(who, seconds):
                raise AssertionError("it was let in")
            assert refusal.value.code == "quota_exceeded"
            assert 1 <= refusal.value.retry_after_s <= 3600
            continue
        if accepted:
            with quotas.charging(who, seconds):
                pass
            used += seconds
        else:
            with pytest.raises(ValueError, match="full"), quotas.charging(who, seconds):
                raise ValueError("the queue is full")
        assert left(quotas, who) == limit - used


class _Watched:
    """A lock that notes, each time it is free again, how many seconds of a key count."""

    def __init__(self, quotas: Quotas, who: Caller) -> None:
        self._lock, self._quotas, self._who = threading.Lock(), quotas, who
        self.counted: list[int] = []

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        asked, left = self._quotas._asked[str(self._who.name)], self._quotas.headers(self._who)[HEADERS[1]]
        self.counted.append(asked + 10 - int(left))
        self._lock.release()


def test_seconds_never_count_twice_when_a_request_is_accepted() -> None:
    quotas, who = Quotas(), caller(audio_s_per_hour=10)
    quotas._lock = watched = _Watched(quotas, who)  # type: ignore[assignment]
    with quotas.charging(who, 4):
        pass
    with pytest.raises(ZeroDivisionError), quotas.charging(who, 6):
        raise ZeroDivisionError
    assert watched.counted == [4, 4, 10, 4]


def test_requests_at_once_do_not_go_over_together() -> None:
    quotas, who = Quotas(), caller(audio_s_per_hour=10)
    both_in = threading.Barrier(8)

    def ask(_: int) -> bool:
        both_in.wait(30)
        try:
            with quotas.charging(who, 3):
                return True
        except QuotaError:
            return False

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(ask, range(8))) == 3
    assert left(quotas, who) == 1


def test_what_is_being_accepted_counts_already() -> None:
    quotas, who = Quotas(), caller(audio_s_per_hour=10)
    with quotas.charging(who, 8), pytest.raises(QuotaError), quotas.charging(who, 3):
        raise AssertionError("it was let in")
    assert left(quotas, who) == 2


def test_one_key_does_not_use_up_another_s_quota_and_who_has_none_has_no_limit() -> None:
    quotas = Quotas()
    one, other = caller("one", audio_s_per_hour=5), caller("other", audio_s_per_hour=5)
    with quotas.charging(one, 5), quotas.charging(other, 5), quotas.charging(caller(None), 10**9):
        pass
    with quotas.charging(caller("free"), 10**9):
        pass
    assert quotas.headers(caller("free")) == quotas.headers(caller(None)) == {}
    # How long the upload is that is refused, nobody knows yet.
    with pytest.raises(QuotaError, match=r"^key .* has 0 s left: its limit is"):
        quotas.check(one)


def test_places_are_given_back_and_those_of_one_key_are_its_own() -> None:
    quotas, who = Quotas(), caller(concurrent=1)
    for _ in range(2):
        with quotas.place(who):
            with pytest.raises(QuotaError) as refusal, quotas.place(who):
                raise AssertionError("it was let in")
            assert (refusal.value.status, refusal.value.code) == (429, "too_many_requests")
            with (
                quotas.place(caller("other", concurrent=1)),
                quotas.place(caller(None)),
                quotas.place(caller("c")),
            ):
                pass


def test_seconds_are_whole_and_rounded_up() -> None:
    assert [charged_s(seconds) for seconds in (0.0, 0.1, 1.0, 1.01)] == [0, 1, 1, 2]
