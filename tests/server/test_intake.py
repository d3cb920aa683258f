"""Uploads before the queue: short ones pass long ones, memory is bounded, and none waits without end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from server.intake import RANK_BYTES_S, RESERVE, SAMPLES_BYTES, Intake

MIB = 2**20
LONG, SHORT = 5 * MIB, 20_000
LONGEST_S = 600.0
ROOM = 10**12  # bytes; no bound


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Decoder:
    """Decodes uploads until it is told to end them, and notes their order."""

    def __init__(self, intake: Intake) -> None:
        self.intake = intake
        self.begun: list[str] = []
        self._ends: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def come(self, name: str, size: int) -> None:
        self._ends[name] = asyncio.Event()
        self._tasks[name] = asyncio.create_task(self._decode(name, size))
        await settled()

    async def end(self, name: str) -> None:
        self._ends[name].set()
        await self._tasks[name]
        await settled()

    async def leave(self, name: str) -> None:
        self._tasks[name].cancel()
        await asyncio.wait({self._tasks[name]})
        await settled()

    async def _decode(self, name: str, size: int) -> None:
        async with self.intake.turn(size):
            self.begun.append(name)
            await self._ends[name].wait()


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def run(
    test: Callable[[Decoder], Awaitable[None]], places: int = 3, max_bytes: int = ROOM, **more: Clock
) -> None:
    async def inside() -> None:
        decoder = Decoder(Intake(places, max_bytes, LONGEST_S, **more))
        await test(decoder)
        for name, task in decoder._tasks.items():
            if not task.done():
                await decoder.end(name)
        assert (decoder.intake.running, decoder.intake.waiting, decoder.intake.audio_s) == (0, 0, 0)

    asyncio.run(inside())


def test_a_short_clip_passes_two_long_recordings() -> None:
    """With two decoders and no more, it waited for both."""

    async def test(decoder: Decoder) -> None:
        for name in ("long-1", "long-2", "long-3"):
            await decoder.come(name, LONG)
        assert decoder.begun == ["long-1", "long-2"]
        await decoder.come("short", SHORT)
        assert decoder.begun == ["long-1", "long-2", "short"]
        await decoder.end("short")
        assert decoder.begun[-1] == "short"  # its place is not for a long one
        await decoder.end("long-1")
        assert decoder.begun[-1] == "long-3"

    run(test)


def test_of_those_that_wait_the_short_ones_go_first() -> None:
    async def test(decoder: Decoder) -> None:
        for name, size in (("a", 10), ("b", 10), ("4", 4 * MIB), ("1", MIB), ("3", 3 * MIB)):
            await decoder.come(name, size)
        for name in ("a", "1", "3", "b"):
            await decoder.end(name)
        assert decoder.begun == ["a", "b", "1", "3", "4"]

    run(test, clock=Clock())


def test_a_long_recording_waits_for_shorter_ones_only_until_its_own_time() -> None:
    clock = Clock()

    async def test(decoder: Decoder) -> None:
        await decoder.come("first", 1)
        await decoder.come("second", 1)
        await decoder.come("long", LONG)
        await decoder.come("early", SHORT)
        clock.now_s = LONG / RANK_BYTES_S + 0.1
        await decoder.come("late", SHORT)
        for name in ("first", "early"):
            await decoder.end(name)
        assert decoder.begun[2:] == ["early", "long"]

    run(test, clock=clock)


def test_memory_is_bounded_and_the_smallest_have_their_own() -> None:
    need = LONG + int(LONGEST_S * SAMPLES_BYTES)
    room = int(2.5 * need * RESERVE / (RESERVE - 1))

    async def test(decoder: Decoder) -> None:
        for number in range(4):
            await decoder.come(f"long-{number}", LONG)
        assert decoder.begun == ["long-0", "long-1"]
        await decoder.come("short", SHORT)
        assert decoder.begun[-1] == "short"

    run(test, places=10, max_bytes=room)


def test_what_needs_more_memory_than_there_is_goes_alone() -> None:
    async def test(decoder: Decoder) -> None:
        await decoder.come("huge-1", 25 * MIB)
        await decoder.come("huge-2", 25 * MIB)
        assert decoder.begun == ["huge-1"]
        await decoder.end("huge-1")
        assert decoder.begun == ["huge-1", "huge-2"]

    run(test, max_bytes=MIB)


def test_who_leaves_gives_place_and_what_waits_and_is_decoded_is_told() -> None:
    async def test(decoder: Decoder) -> None:
        for name in ("a", "b", "c", "d"):
            await decoder.come(name, LONG)
        assert (decoder.intake.running, decoder.intake.waiting) == (2, 2)
        assert decoder.intake.audio_s == 4 * LONGEST_S
        await decoder.leave("c")
        await decoder.leave("a")
        assert (decoder.intake.running, decoder.intake.waiting) == (2, 0)
        assert decoder.begun == ["a", "b", "d"]

    run(test)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(0, 25 * MIB), min_size=1, max_size=12),
    st.integers(2, 5),
    st.integers(1, 400 * MIB),
    st.randoms(use_true_random=False),
)
def test_every_upload_is_decoded_whatever_comes(
    sizes: list[int], places: int, room: int, random: object
) -> None:
    async def test(decoder: Decoder) -> None:
        for number, size in enumerate(sizes):
            await decoder.come(str(number), size)
            assert decoder.intake.running <= places
            assert decoder.intake._used <= room
            assert decoder.intake.running > 0
        ended: set[str] = set()
        while len(ended) < len(sizes):
            running = [name for name in decoder.begun if name not in ended]
            assert running, "everything waits"
            name = random.choice(running)  # type: ignore[attr-defined]
            ended.add(name)
            await decoder.end(name)

    run(test, places=places, max_bytes=room)
