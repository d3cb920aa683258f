"""Jobs: requests in progress, and their pieces."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

from server.bank.bank import Lease
from server.engine.messages import Chosen, Decoded, FloatArray, Piece, Reply, Request, Timing
from server.engine.placing import Joiner


class Settled(Protocol):
    """Something that a job waits for."""

    settled: bool
    hint: bool  # only for a hint, without which the job is answered too


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
    choices: list[Settled] = field(default_factory=list)  # server.engine.choice.Choice
    chosen: list[Chosen] = field(default_factory=list)  # decided so far
    notes: list[str] = field(default_factory=list)  # warnings of choosing
    settled: list[Decoded] = field(default_factory=list)  # the first pieces, with the words that are theirs
    _held: list[Lease] = field(default_factory=list)  # of candidates, released at the end
    _left: bool = False
    _begun: tuple[float, float] | None = None  # when its first piece was queued and taken; time.monotonic()
    _device_s: float = 0.0
    _joined: int = 0  # pieces that the joiner has
    _shares: dict[str | None, tuple[int, int, Lease | None]] = field(default_factory=dict)  # by digest
    _joiner: Joiner = field(init=False)
    _claimed: threading.Lock = field(default_factory=threading.Lock)
    _holding: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._joiner = Joiner(self.request.timestamps)

    @property
    def undecided(self) -> bool:
        """Whether a choice is still to be made."""
        return not all(choice.settled for choice in self.choices)

    def hold(self, lease: Lease) -> None:
        """Release a lease when the job ends; at once if it has. Thread-safe."""
        with self._holding:
            if not self._left:
                self._held.append(lease)
                return
        lease.release()

    def release(self) -> None:
        """Release all leases. Thread-safe."""
        with self._holding:
            self._left = True
            held, self._held = self._held, []
        for lease in (*held, self.lease):
            if lease is not None:
                lease.release()

    def tell_choice(self, lease: Lease | None, samples: int, index: int) -> None:
        """Take the domain of most audio for the reply's provenance, of equals the earliest. Thread-safe.

        Args:
            samples: of the pieces that are decoded in it.
            index: of the first of them.
        """
        with self._holding:
            digest = None if lease is None else lease.sha256
            known, first, _ = self._shares.get(digest, (0, index, lease))
            self._shares[digest] = known + samples, min(first, index), lease
            *_, self.lease = max(self._shares.values(), key=lambda share: (share[0], -share[1]))

    def begin(self, queued_s: float, begun_s: float) -> None:
        """Note when a piece was queued and taken by the device; the first counts."""
        self._begun = self._begun or (queued_s, begun_s)

    def note_batch(self, took_s: float) -> None:
        """Note how long a batch took that had pieces of this."""
        self._device_s += took_s

    @property
    def timing(self) -> Timing | None:
        """When it was worked for, up to now; None if the device has taken nothing of it."""
        return None if self._begun is None else Timing(*self._begun, time.monotonic(), self._device_s)

    def take(self, index: int, decoded: Decoded) -> None:
        """Take a piece's words. Side effect: tells whoever asked of the pieces that are certain now."""
        self.decoded[index] = decoded
        self.pieces_left -= 1
        self.tell_progress()
        while (following := self.decoded.get(self._joined)) is not None:
            self._joined += 1
            self._settle(self._joiner.take(following))
        if not self.pieces_left:
            self._settle(self._joiner.end())

    def _settle(self, pieces: Sequence[Decoded]) -> None:
        self.settled += pieces
        if self.request.on_piece is not None:
            for piece in pieces:
                self.request.on_piece(piece)

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
    """One piece of a job.

    Attributes:
        choice: the choice that it is for (server.engine.choice), if its words are not simply the reply's.
        trial: the name of the candidate whose words it brings to the choice; None: a voice point.
    """

    job: Job
    index: int
    piece: Piece
    choice: Settled | None = None
    trial: str | None = None
    queued_s: float = field(default_factory=time.monotonic)  # when it was made, for the queue

    @property
    def optional(self) -> bool:
        """Whether the job is answered without it too."""
        return self.choice is not None and self.choice.hint
