"""Quotas: the audio that each key may have transcribed within an hour, and its requests at the same time.

The hour is the last 3,600 s at any moment (the moving window of the library `limits`). Audio counts in whole
seconds. The counts are in memory: a server that starts anew has counted nothing.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from limits import RateLimitItemPerHour
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from server.errors import ApiError
from server.keys.caller import Caller

HEADERS = tuple(f"x-ratelimit-{what}-audio-seconds" for what in ("limit", "remaining", "reset"))


class QuotaError(ApiError):
    """A limit of the caller's key is reached."""

    def __init__(self, message: str, *, code: str, retry_after_s: float) -> None:
        super().__init__(429, message, code=code)
        self.retry_after_s = max(1, math.ceil(retry_after_s))


class Quotas:
    """What callers use, by the names of their keys. Thread-safe. Who has no key has no quota."""

    def __init__(self) -> None:
        self._used = MovingWindowRateLimiter(MemoryStorage())
        self._asked: Counter[str] = Counter()  # seconds of requests that are being accepted
        self._running: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def place(self, caller: Caller) -> Iterator[None]:
        """Count a request within the block. Raises QuotaError if as many run as the key may have."""
        name, limit = caller.name, caller.concurrent
        if name is None:
            yield
            return
        with self._lock:
            if limit is not None and self._running[name] >= limit:
                raise QuotaError(
                    f"{self._running[name]} requests of key {name} are running: its limit is {limit} "
                    "(`ssvd keys`, concurrent)",
                    code="too_many_requests", retry_after_s=1,
                )  # fmt: skip
            self._running[name] += 1
        try:
            yield
        finally:
            with self._lock:
                self._running[name] -= 1
                self._running += Counter()  # drops what is zero

    @contextmanager
    def charging(self, caller: Caller, seconds: int) -> Iterator[None]:
        """Charge seconds of audio if the block, which accepts the request, ends without an error.

        Raises, before the block:
            ApiError: the key may never have so many at once; 422, since to come again is of no use.
            QuotaError: the key has not so many left.
        """
        name, limit = caller.name, caller.audio_s_per_hour
        if name is None or limit is None or seconds <= 0:
            yield
            return
        if seconds > limit:
            raise ApiError(
                422,
                f"{seconds} s of audio are asked for, and key {name} may have {limit} s an hour "
                "(`ssvd keys`, audio-s-per-hour)",
                code="audio_too_long", param="file",
            )  # fmt: skip
        item = RateLimitItemPerHour(limit)
        with self._lock:
            self._check(caller, seconds + self._asked[name])
            self._asked[name] += seconds
        accepted = False
        try:
            yield
            accepted = True
        finally:
            with self._lock:  # both at once: between them the seconds would count twice, or not at all
                self._asked[name] -= seconds
                if accepted:
                    self._used.hit(item, name, cost=seconds)

    def check(self, caller: Caller) -> None:
        """Raise QuotaError if the key has nothing left, so that no upload of it needs to be decoded."""
        with self._lock:
            self._check(caller, 1)

    def headers(self, caller: Caller) -> dict[str, str]:
        """Return what a reply says of the key's quota, in headers named as OpenAI's are."""
        name, limit = caller.name, caller.audio_s_per_hour
        if name is None or limit is None:
            return {}
        reset_s, left = self._left(name, limit)
        return dict(zip(HEADERS, (str(limit), str(left), f"{math.ceil(reset_s)}s"), strict=True))

    def _check(self, caller: Caller, seconds: int) -> None:
        name, limit = caller.name, caller.audio_s_per_hour
        if name is None or limit is None:
            return
        reset_s, left = self._left(name, limit)
        if seconds > left:
            # Of an upload that is not decoded yet, nobody knows how many seconds it asks for.
            asked = f"{seconds} s of audio are asked for, and " if left else ""
            raise QuotaError(
                f"{asked}key {name} has {left} s left: its limit is {limit} s of audio an hour "
                "(`ssvd keys`, audio-s-per-hour)",
                code="quota_exceeded", retry_after_s=reset_s,
            )  # fmt: skip

    def _left(self, name: str, limit: int) -> tuple[float, int]:
        """Return in how many seconds the oldest audio stops to count, and the seconds of audio left."""
        item = RateLimitItemPerHour(limit)
        reset_at, left = self._used.get_window_stats(item, name)
        return (max(0.0, reset_at - time.time()) if left < limit else 0.0), max(0, left)


def charged_s(seconds: float) -> int:
    """Return the whole seconds that a recording counts as."""
    return math.ceil(seconds)
