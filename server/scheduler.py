"""What waits for the device, bounded in seconds of audio, and which of it makes the next batch.

A piece's turn comes when its own domain, alone on the device, would have got to it. So the first piece of a
quiet domain goes before the hundredth of a busy one; and since nothing that comes in after a turn can
overtake it, every piece is reached, however many domains there are.

    turn = max(now, turn of the domain's piece before + what that one takes)
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
    turn_s: float = field(default=0.0, init=False)


class Scheduler[T]:
    """Thread-safe. The pieces of a request go in all together or not at all."""

    def __init__(self, max_audio_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.max_audio_s = max_audio_s
        self._clock = clock
        self._waiting: list[Waiting[T]] = []  # by turn
        self._last: dict[str | None, tuple[float, float]] = {}  # domain: turn and row_s of its last piece
        self._counts: Counter[str | None] = Counter()
        self._waiting_s = 0.0
        self._closed = False
        self._changed = threading.Condition()

    @property
    def waiting_s(self) -> float:
        """Seconds of audio not yet taken."""
        return self._waiting_s

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
                turn_s, row_s = self._last.get(piece.domain, (now_s, 0.0))
                piece.turn_s = max(now_s, turn_s + row_s / speed)
                self._last[piece.domain] = (piece.turn_s, piece.row_s)
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
        """Remove what waits of a request: nobody wants it any more."""
        with self._changed:
            self._remove([piece for piece in self._waiting if piece.owner == owner])

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

    def _remove(self, pieces: Sequence[Waiting[T]]) -> None:
        gone = set(map(id, pieces))
        self._waiting = [piece for piece in self._waiting if id(piece) not in gone]
        self._waiting_s = sum(piece.audio_s for piece in self._waiting)  # summed anew: no drift
        self._counts.subtract(piece.domain for piece in pieces)
        for piece in pieces:
            if not self._counts[piece.domain]:  # a domain of which nothing waits has no past
                self._last.pop(piece.domain, None)
                del self._counts[piece.domain]
