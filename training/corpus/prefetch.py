"""Prefetching iterator: a thread builds the next batches while the model computes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable


def prefetch[T](builders: Iterable[Callable[[], T]], depth: int = 3) -> Generator[T]:
    """Yield the results of ``builders`` in order, computed up to ``depth`` ahead in a thread.

    An exception in a builder is raised in place of its result. The thread ends with the iterator.
    """
    results: queue.Queue[tuple[T | None, BaseException | None, bool]] = queue.Queue(maxsize=depth)
    ended = threading.Event()

    def put(item: tuple[T | None, BaseException | None, bool]) -> bool:
        while not ended.is_set():
            try:
                results.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for build in builders:
                if not put((build(), None, False)):
                    return
            put((None, None, True))
        except BaseException as error:  # raised in the consumer
            put((None, error, True))

    thread = threading.Thread(target=work, name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            item, error, last = results.get()
            if error is not None:
                raise error
            if last:
                return
            yield item  # type: ignore[misc]
    finally:
        ended.set()
        thread.join()
