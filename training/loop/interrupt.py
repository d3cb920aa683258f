"""Signal handling of a run: the loop stops after its current step."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

Stop = Callable[[], bool]


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

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def never_stop() -> Iterator[Stop]:
    """Yield a function that never asks to stop."""
    yield lambda: False
