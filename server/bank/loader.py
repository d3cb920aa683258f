"""Loader: a thread that reads and prepares domains beside the device's thread, and restarts if it ends."""

from __future__ import annotations

import itertools
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError

from ssvd_asr.errors import SsvdError

logger = logging.getLogger(__name__)

Task = tuple[Callable[[], object], Future[None]]
WANTED, END, AHEAD = range(3)  # urgencies of tasks

# Of the thread and of the threads that it starts: about a third of the device thread's share.
NICENESS = 5
CLOSE_S = 10.0
LOOK_AGAIN_S = 0.2  # how soon a waiting caller notices that the thread has ended


class LoaderError(SsvdError):
    """A domain could not be loaded for a reason other than its file."""


class Loader:
    """Runs tasks on its own thread, which starts with the first. Thread-safe."""

    def __init__(self, name: str = "ssvd-loader", rest: Callable[[float], object] | None = None) -> None:
        """`rest` is called after each task, before the next begins, with the seconds that the task took."""
        self._name = name
        self._rest = rest
        # By urgency, then by a unique number, so tasks themselves are never compared.
        self._tasks: queue.PriorityQueue[tuple[int, int, Task | None]] = queue.PriorityQueue()
        self._count = itertools.count()
        self._current: Future[None] | None = None
        self._thread: threading.Thread | None = None
        self._closed = False
        self._lock = threading.Lock()

    def submit(self, task: Callable[[], object], *, ahead: bool = False) -> Future[None]:
        """Queue a task. The future raises what the task raises.

        Args:
            ahead: no caller waits for the task, so it runs after all tasks that callers wait for.

        Raises LoaderError after `close`.
        """
        future: Future[None] = Future()
        with self._lock:
            if self._closed:
                raise LoaderError("the server stops: nothing more is loaded")
            self._tasks.put((AHEAD if ahead else WANTED, next(self._count), (task, future)))
        self._keep_alive()
        return future

    def wait(self, future: Future[None], timeout_s: float) -> None:
        """Wait for a task of this loader.

        Raises what the task raised, LoaderError if the thread ended during the task, and TimeoutError.
        """
        left_s = timeout_s
        while True:
            try:
                return future.result(min(LOOK_AGAIN_S, left_s))
            except FutureTimeoutError:
                if future.done():  # raised by the task
                    raise
                left_s -= LOOK_AGAIN_S
                if left_s <= 0:
                    raise
                self._keep_alive()

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """End the thread after the queued tasks, waiting at most `timeout_s`. Tasks `ahead` are dropped.

        A process that exits while the thread computes would abort.
        """
        with self._lock:
            self._closed = True
            self._tasks.put((END, next(self._count), None))
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_s)

    def _keep_alive(self) -> None:
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                return
            orphan, self._current = self._current, None
            if orphan is not None and not orphan.done():
                orphan.set_exception(LoaderError("the loading thread ended while it loaded this"))
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()

    def _run(self) -> None:
        _stand_back()
        while (item := self._tasks.get()[2]) is not None:
            task, future = item
            self._current = future
            began = time.monotonic()
            if future.set_running_or_notify_cancel() and not self._do(task, future):
                return
            self._current = None
            if self._rest is not None:
                self._rest(time.monotonic() - began)

    def _do(self, task: Callable[[], object], future: Future[None]) -> bool:
        """Run a task. Return False if the thread must end: the task raised a non-Exception, as SystemExit."""
        try:
            task()
        except Exception as error:
            future.set_exception(error)
        except BaseException as ending:
            logger.error("the loading thread was ended (%s); another takes over", type(ending).__name__)
            future.set_exception(LoaderError(f"the loading thread was ended ({type(ending).__name__})"))
            return False
        else:
            future.set_result(None)
        return True


def _stand_back() -> None:
    """Lower this thread's priority below the decoding thread's. Only Linux has priorities of threads."""
    if sys.platform == "linux":
        own = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, own, max(NICENESS, os.getpriority(os.PRIO_PROCESS, own)))
