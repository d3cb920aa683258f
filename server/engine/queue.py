"""Queue of pieces waiting for the device, bounded in seconds of audio and ordered by fair turn.

A piece's turn is the time at which its domain, alone on the device, would begin it. The first piece of a
quiet domain therefore goes before the hundredth of a busy one. No piece that arrives after a turn can
overtake it, so every piece is reached, however many domains there are.

    turn = max(time of arrival, turn of the domain's previous piece + time that piece takes)

Within a domain, pieces follow each other by the time at which their request, alone on the device, would
begin them. A short recording therefore goes before the rest of a long one that came earlier. That time is
fixed when a request comes, so requests without end hold up a piece only until then.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

SIMILAR = 0.5  # shortest row of a batch, as a share of its longest; shorter ones would be mostly padding


@dataclass(eq=False)
class Waiting[T]:
    """One piece in the queue, with its cost and its turn."""

    item: T
    owner: object  # the request; its pieces are discarded together
    domain: str | None  # digest, among whose pieces it takes turns; None is the base
    audio_s: float
    row_s: float  # audio_s after padding, if it is alone in a batch
    blend: str | None = None  # digest of the cores that it needs, if they are a blend's and not the domain's
    entered_s: float = field(default=0.0, init=False)
    takes_s: float = field(default=0.0, init=False)  # time on the device, if it is alone in a batch
    alone_s: float = field(default=0.0, init=False)  # when it would begin if its request were alone
    turn_s: float = field(default=0.0, init=False)


class Scheduler[T]:
    """The queue. Thread-safe. Takes all pieces of a request or none."""

    def __init__(self, max_audio_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.max_audio_s = max_audio_s
        self._clock = clock
        self._waiting: list[Waiting[T]] = []  # by turn
        self._next: dict[str | None, float] = {}  # domain: earliest turn of its next piece
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
        """Seconds of audio not yet taken, after padding."""
        with self._changed:
            return sum(piece.row_s for piece in self._waiting)

    def ahead_s(self, domain: str | None) -> float:
        """Return the part of `padded_s` whose turn comes before that of a piece of the domain put now."""
        with self._changed:
            now_s = self._clock()
            own = [piece for piece in self._waiting if piece.domain == domain]
            before = sorted((piece for piece in own if piece.alone_s <= now_s), key=_alone_s)
            turn_s = own[0].turn_s if own else now_s
            for piece in before:
                turn_s = max(piece.entered_s, turn_s) + piece.takes_s
            turn_s = max(now_s, turn_s)
            others = (each for each in self._waiting if each.domain != domain and each.turn_s <= turn_s)
            return sum(piece.row_s for piece in (*before, *others))

    def put(
        self, pieces: Sequence[Waiting[T]], speed: float, more_s: float = 0.0, *, force: bool = False
    ) -> bool:
        """Add pieces, or add none and return False if they do not fit.

        Args:
            speed: padded audio-seconds that the device decodes a second.
            more_s: seconds of audio that the request will put later, with `force`, and which have to fit too.
            force: whether the pieces belong to a request that was accepted, so that they always fit.

        Raises RuntimeError after `close`.
        """
        seconds = sum(piece.audio_s for piece in pieces)
        with self._changed:
            if self._closed:
                raise RuntimeError("the queue is closed")
            if not force and self._waiting_s + seconds + more_s > self.max_audio_s:
                return False
            now_s = alone_s = self._clock()
            domains = {piece.domain for piece in pieces}
            self._back_to_first(domains)
            for piece in pieces:
                piece.entered_s, piece.takes_s, piece.alone_s = now_s, piece.row_s / speed, alone_s
                alone_s += piece.takes_s
                self._counts[piece.domain] += 1
            self._waiting += pieces
            self._lay_all(domains)
            self._waiting_s += seconds
            self._changed.notify()
            return True

    def wake(self) -> None:
        """Have a waiting `take` ask whether it is called away."""
        with self._changed:
            self._changed.notify_all()

    def take(
        self, max_batch_s: float, max_domains: int, called_away: Callable[[], bool] = lambda: False
    ) -> list[T]:
        """Wait for pieces, then remove and return a batch.

        Empty once the queue is closed and drained, or when there are no pieces and `called_away` holds.

        The first piece always goes. Others join in order of turn under three conditions: the number of rows
        times the longest row stays within `max_batch_s`, the domains besides the base stay within
        `max_domains`, and the lengths are SIMILAR.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed or called_away())
            taken: list[Waiting[T]] = []
            domains: set[str] = set()
            for piece in self._waiting:
                longest = max([piece.row_s, *(each.row_s for each in taken)])
                shortest = min([piece.row_s, *(each.row_s for each in taken)])
                needed = piece.blend or piece.domain
                added = domains if needed is None else domains | {needed}
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
        """Remove the pieces of a request that is no longer wanted.

        The other pieces of its domain move up into the freed turns, but not before their own arrival.
        """
        with self._changed:
            gone = [piece for piece in self._waiting if piece.owner == owner]
            domains = {piece.domain for piece in gone}
            self._back_to_first(domains)
            self._remove(gone)
            self._lay_all(domains)

    def close(self) -> None:
        """Refuse further pieces. Those in the queue can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def clear(self) -> list[T]:
        """Remove and return all pieces."""
        with self._changed:
            pieces = list(self._waiting)
            self._remove(pieces)
            return [piece.item for piece in pieces]

    def _back_to_first(self, domains: Set[str | None]) -> None:
        """Set the next turn of these domains back to the turn of the first piece of each."""
        for piece in reversed(self._waiting):
            if piece.domain in domains:
                self._next[piece.domain] = piece.turn_s

    def _lay_all(self, domains: Set[str | None]) -> None:
        """Give the pieces of these domains turns anew, from the next one of their domain on."""
        for piece in sorted(self._waiting, key=_alone_s):
            if piece.domain in domains:
                piece.turn_s = max(piece.entered_s, self._next.get(piece.domain, piece.entered_s))
                self._next[piece.domain] = piece.turn_s + piece.takes_s
        self._waiting.sort(key=lambda each: each.turn_s)

    def _remove(self, pieces: Sequence[Waiting[T]]) -> None:
        gone = set(map(id, pieces))
        self._waiting = [piece for piece in self._waiting if id(piece) not in gone]
        self._waiting_s = sum(piece.audio_s for piece in self._waiting)  # summed anew against rounding drift
        self._counts.subtract(piece.domain for piece in pieces)
        for piece in pieces:
            if not self._counts[piece.domain]:  # forget the turn of a domain without pieces
                self._next.pop(piece.domain, None)
                del self._counts[piece.domain]


def _alone_s(piece: Waiting[Any]) -> float:
    return piece.alone_s
