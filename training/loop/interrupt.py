"""Signal handling of a run: the loop stops after its current step, everything else at once."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

Stop = Callable[[], bool]
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StoppedError(Exception):
    """A validation was asked to stop."""


@contextmanager
def stop_on_signal() -> Iterator[Stop]:
    """Yield a function that returns whether SIGINT or SIGTERM has arrived inside the block.

    A second signal raises KeyboardInterrupt at once. For the main thread only. The previous handlers are
    restored.
    """
    asked = False

    def ask(number: int, _: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        print(f"{signal.Signals(number).name}: stopping after this step", file=sys.stderr, flush=True)

    with _handled_by(ask):
        yield lambda: asked


@contextmanager
def interrupt_on_signal() -> Iterator[None]:
    """Raise KeyboardInterrupt inside the block for SIGTERM too, which ends Python without a word otherwise.

    For the main thread only. The previous handlers are restored.
    """

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    with _handled_by(interrupt):
        yield


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


@contextmanager
def never_stop() -> Iterator[Stop]:
    """Yield a function that never asks to stop."""
    yield lambda: False
