"""Intake: uploads wait here to be decoded to samples, the short ones first, within a bound on memory.

An upload's rank is the time of its arrival and a time for its size. A smaller one that comes later therefore
goes first, but only while the larger one's own time has not come, so that none waits without end.

One place and an eighth of the memory are for uploads smaller than every one being decoded. A short clip
begins at once however many long recordings are decoded, and these hold up only each other.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from ssvd_asr.audio.read import SAMPLE_RATE

RANK_BYTES_S = 256 * 1024  # bytes that count as a second of rank: 25 MiB wait for smaller ones at most 100 s
LEAST_BYTES_S = 750  # of audio: 6 kbit/s, the thinnest that is common; so many seconds an upload may hold
USUAL_BYTES_S = 4000  # 32 kbit/s, by which its seconds are told before they are known
SAMPLES_BYTES = 2 * 4 * SAMPLE_RATE  # a second of samples, and a copy of it, as read_recording holds them
RESERVE = 8  # one part of so many of the memory is for the smallest


@dataclass(eq=False)
class _Upload:
    """An upload in the intake. `memory` is in bytes, `audio_s` a guess."""

    size_bytes: int
    memory: int
    audio_s: float
    rank_s: float
    begun: asyncio.Future[None]


class Intake:
    """The uploads of one server. Used on the event loop only."""

    def __init__(
        self, places: int, max_bytes: int, longest_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`longest_s`: the longest audio of an upload; more is refused while it is decoded."""
        self._places, self._max_bytes, self._longest_s = places, max_bytes, longest_s
        self._clock = clock
        self._waiting: list[_Upload] = []  # by rank
        self._running: list[_Upload] = []

    @property
    def waiting(self) -> int:
        """Uploads that wait for their turn."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Uploads that are being decoded."""
        return len(self._running)

    @property
    def audio_s(self) -> float:
        """Seconds of audio that wait or are being decoded, as their sizes let one guess."""
        return sum(each.audio_s for each in (*self._waiting, *self._running))

    @asynccontextmanager
    async def turn(self, size_bytes: int) -> AsyncIterator[None]:
        """Wait until an upload may be decoded, and hold its place within the block."""
        may_hold_s = min(self._longest_s, size_bytes / LEAST_BYTES_S)
        upload = _Upload(
            size_bytes,
            # More than there is counts as all of it: it has to be decoded some time.
            min(size_bytes + int(may_hold_s * SAMPLES_BYTES), self._for_all_bytes),
            min(self._longest_s, size_bytes / USUAL_BYTES_S),
            self._clock() + size_bytes / RANK_BYTES_S,
            asyncio.get_running_loop().create_future(),
        )
        self._waiting.append(upload)
        self._waiting.sort(key=lambda each: each.rank_s)
        self._begin()
        try:
            await upload.begun
            yield
        finally:
            (self._running if upload in self._running else self._waiting).remove(upload)
            self._begin()

    @property
    def _for_all_bytes(self) -> int:
        """The memory that is not for the smallest alone."""
        return self._max_bytes - self._max_bytes // RESERVE

    def _begin(self) -> None:
        """Begin those that fit, by rank. Behind one that does not fit, only the smallest begin."""
        held_up = False
        for upload in list(self._waiting):
            if (held_up or not self._fits(upload)) and not self._fits_the_reserve(upload):
                held_up = True
                continue
            self._waiting.remove(upload)
            self._running.append(upload)
            if not upload.begun.done():  # else it was cancelled, and leaves at once
                upload.begun.set_result(None)

    def _fits(self, upload: _Upload) -> bool:
        return len(self._running) < self._places - 1 and self._used + upload.memory <= self._for_all_bytes

    def _fits_the_reserve(self, upload: _Upload) -> bool:
        return (
            len(self._running) < self._places
            and self._used + upload.memory <= self._max_bytes
            and all(upload.size_bytes < each.size_bytes for each in self._running)
        )

    @property
    def _used(self) -> int:
        return sum(each.memory for each in self._running)
