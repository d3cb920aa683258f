"""End a run gently: a signal asks, the loop answers after its current step."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

Stop = Callable[[], bool]


@contextmanager
def stop_on_signal() -> Iterator[Stop]:
    """Inside the block SIGINT and SIGTERM make the yielded function true; a second one interrupts at once.

    For the main thread only. The handlers of before are put back.
    """
    asked = False

    def ask(number: int, _: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        print(f"{signal.Signals(number).name}: stopping after this step", file=sys.stderr, flush=True)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def never_stop() -> Iterator[Stop]:
    """No way to end the run but its end."""
    yield lambda: False
