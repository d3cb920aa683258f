"""Jobs: requests in progress, and their pieces."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import dataclass, field

from server.bank.bank import Lease
from server.engine.messages import Decoded, FloatArray, Piece, Reply, Request


@dataclass(eq=False)
class Job:
    """A request in progress. Its future stays pending to the end, so that it can be cancelled."""

    request: Request
    lease: Lease | None
    deadline_s: float  # time.monotonic()
    future: Future[Reply] = field(default_factory=Future)
    pieces: int = 0
    pieces_left: int = 0
    decoded: dict[int, Decoded] = field(default_factory=dict)  # by place in the request
    speech: FloatArray | None = None  # (frames,) its probability, where segments are to say it
    _claimed: threading.Lock = field(default_factory=threading.Lock)

    def tell_progress(self) -> None:
        """Tell whoever asked how many pieces are decoded."""
        if self.request.on_progress is not None:
            self.request.on_progress(self.pieces - self.pieces_left, self.pieces)

    def answer(self, reply: Reply) -> None:
        """Answer, unless it is answered or cancelled. Thread-safe."""
        if self.claim():
            self.future.set_result(reply)

    def fail(self, error: BaseException) -> None:
        """Answer with an error, unless it is answered or cancelled. Thread-safe."""
        if self.claim():
            self.future.set_exception(error)

    def claim(self) -> bool:
        """Return whether the caller is to answer: it is the first, and the future is not cancelled.

        The first call on a cancelled future notifies its waiters.
        """
        return self._claimed.acquire(blocking=False) and self.future.set_running_or_notify_cancel()


@dataclass(frozen=True, eq=False)
class Part:
    """One piece of a job."""

    job: Job
    index: int
    piece: Piece
