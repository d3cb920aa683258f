"""Errands: calls that need the model and are no batch. The device's thread runs them between two batches."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError

import torch

from server.engine.batches import is_out_of_memory
from server.errors import DeadlineError, OutOfMemoryError

Errand = tuple[Callable[[], object], Future[None]]


class Errands:
    """The errands that wait. Thread-safe."""

    def __init__(self, wake: Callable[[], object]) -> None:
        """`wake` has the device's thread call `run`, if it waits for a batch."""
        self._wake = wake
        self._waiting: deque[Errand] = deque()
        self._closed: Exception | None = None
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def do(self, call: Callable[[], object], timeout_s: float) -> None:
        """Have the device's thread make a call, and wait for it.

        Raises what the call raises, what `close` was given, DeadlineError after `timeout_s`, and
        OutOfMemoryError where the device's memory has no room.
        """
        future = self.add(call)
        self._wake()
        try:
            future.result(timeout_s)
        except FutureTimeoutError:
            future.cancel()
            raise DeadlineError(
                f"not checked within {timeout_s:g} s (SSVD_REQUEST_TIMEOUT_S): the server is busy"
            ) from None
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise OutOfMemoryError(f"the device's memory has no room for the canary: {error}") from error

    def add(self, call: Callable[[], object]) -> Future[None]:
        """Add an errand. The future raises what the call raises, or what `close` was given."""
        future: Future[None] = Future()
        with self._lock:
            if self._closed is None:
                self._waiting.append((call, future))
            else:
                future.set_exception(self._closed)
        return future

    def run(self) -> None:
        """Run those that wait. Raises AcceleratorError if the device itself has failed."""
        while self._waiting:
            call, future = self._waiting.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                call()
            except BaseException as error:
                future.set_exception(error)
                if isinstance(error, torch.AcceleratorError) or not isinstance(error, Exception):
                    raise
            else:
                future.set_result(None)

    def close(self, error: Exception) -> None:
        """Fail those that wait, and all that come."""
        with self._lock:
            self._closed = error
            while self._waiting:
                future = self._waiting.popleft()[1]
                if future.set_running_or_notify_cancel():
                    future.set_exception(error)
