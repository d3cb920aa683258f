"""What waits for the device, bounded in seconds of audio, and which of it makes the next batch.

A piece's turn comes when its own domain, alone on the device, would have got to it. So the first piece of a
quiet domain goes before the hundredth of a busy one; and since nothing that comes in after a turn can
overtake it, every piece is reached, however many domains there are.

    turn = max(when it came in, turn of the domain's piece before + what that one takes)
"""

from __future__ import annotations

import bisect
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

SIMILAR = 0.5  # rows of a batch are at least so long as its longest: shorter ones would mostly be padding


@dataclass(eq=False)
class Waiting[T]:
    """One piece. Costs are in seconds of audio after padding, as the model works on it."""

    item: T
    owner: object  # the request; its pieces are discarded together
    domain: str | None  # digest; None is the base
    audio_s: float
    row_s: float  # audio_s, padded as it is when it is alone in a batch
    entered_s: float = field(default=0.0, init=False)
    takes_s: float = field(default=0.0, init=False)  # of the device, if it is alone there
    turn_s: float = field(default=0.0, init=False)


class Scheduler[T]:
    """Thread-safe. The pieces of a request go in all together or not at all."""

    def __init__(self, max_audio_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.max_audio_s = max_audio_s
        self._clock = clock
        self._waiting: list[Waiting[T]] = []  # by turn
        self._next: dict[str | None, float] = {}  # domain: first turn that its next piece can have
        self._counts: Counter[str | None] = Counter()
        self._waiting_s = 0.0
        self._closed = False
        self._changed = threading.Condition()

    @property
    def waiting_s(self) -> float:
        """Seconds of audio not yet taken."""
        return self._waiting_s

    @property
    def padded_s(self) -> float:
        """The same after padding: what the device has to work through."""
        with self._changed:
            return sum(piece.row_s for piece in self._waiting)

    def ahead_s(self, domain: str | None) -> float:
        """Of `padded_s`, what has its turn before a piece of the domain that is put now."""
        with self._changed:
            now_s = self._clock()
            turn_s = max(now_s, self._next.get(domain, now_s))
            return sum(piece.row_s for piece in self._waiting if piece.turn_s <= turn_s)

    def put(self, pieces: Sequence[Waiting[T]], speed: float) -> bool:
        """Add pieces; False, and nothing added, where they do not fit.

        Args:
            speed: audio-seconds, padded, that the device decodes in a second.

        Raises RuntimeError after `close`.
        """
        seconds = sum(piece.audio_s for piece in pieces)
        with self._changed:
            if self._closed:
                raise RuntimeError("the queue is closed")
            if self._waiting_s + seconds > self.max_audio_s:
                return False
            now_s = self._clock()
            for piece in pieces:
                piece.entered_s, piece.takes_s = now_s, piece.row_s / speed
                self._lay(piece)
                self._counts[piece.domain] += 1
                bisect.insort(self._waiting, piece, key=lambda each: each.turn_s)
            self._waiting_s += seconds
            self._changed.notify()
            return True

    def take(self, max_batch_s: float, max_domains: int) -> list[T]:
        """Wait for pieces and remove a batch of them; empty once the queue is closed and drained.

        The piece whose turn it is goes in any case. Others join in order while rows times the longest row
        stay within `max_batch_s`, domains beside the base within `max_domains`, and lengths are SIMILAR.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            taken: list[Waiting[T]] = []
            domains: set[str] = set()
            for piece in self._waiting:
                longest = max([piece.row_s, *(each.row_s for each in taken)])
                shortest = min([piece.row_s, *(each.row_s for each in taken)])
                added = domains if piece.domain is None else domains | {piece.domain}
                fits = (
                    (len(taken) + 1) * longest <= max_batch_s
                    and len(added) <= max_domains
                    and shortest >= SIMILAR * longest
                )
                if not taken or fits:
                    taken.append(piece)
                    domains = added
                elif len(taken) * longest >= max_batch_s:
                    break
            self._remove(taken)
            return [piece.item for piece in taken]

    def discard(self, owner: object) -> None:
        """Remove what waits of a request: nobody wants it any more.

        What else waits of its domain moves up into the turns that it leaves, but to none before it came in.
        """
        with self._changed:
            gone = [piece for piece in self._waiting if piece.owner == owner]
            domains = {piece.domain for piece in gone}
            for piece in reversed(self._waiting):
                if piece.domain in domains:
                    self._next[piece.domain] = piece.turn_s  # in the end that of its first piece
            self._remove(gone)
            for piece in self._waiting:
                if piece.domain in domains:
                    self._lay(piece)
            self._waiting.sort(key=lambda each: each.turn_s)

    def close(self) -> None:
        """Refuse further pieces; what waits can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def clear(self) -> list[T]:
        """Remove and return all that waits."""
        with self._changed:
            pieces = list(self._waiting)
            self._remove(pieces)
            return [piece.item for piece in pieces]

    def _lay(self, piece: Waiting[T]) -> None:
        """Give a piece the next turn of its domain."""
        piece.turn_s = max(piece.entered_s, self._next.get(piece.domain, piece.entered_s))
        self._next[piece.domain] = piece.turn_s + piece.takes_s

    def _remove(self, pieces: Sequence[Waiting[T]]) -> None:
        gone = set(map(id, pieces))
        self._waiting = [piece for piece in self._waiting if id(piece) not in gone]
        self._waiting_s = sum(piece.audio_s for piece in self._waiting)  # summed anew: no drift
        self._counts.subtract(piece.domain for piece in pieces)
        for piece in pieces:
            if not self._counts[piece.domain]:  # a domain of which nothing waits has no past
                self._next.pop(piece.domain, None)
                del self._counts[piece.domain]
