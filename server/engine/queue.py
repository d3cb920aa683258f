"""Queue of pieces waiting for the device, bounded in seconds of audio and ordered by fair turn.

Callers share the device, and within a caller its domains do. A caller is the holder of a key; requests
without one are a single caller. A domain's pieces of one caller are a line.

A piece's turn is the time at which its line, alone on the device, would begin it. The first piece of a quiet
domain therefore goes before the hundredth of a busy one. No piece that arrives after a turn can overtake it
within its caller, so every piece is reached, however many domains there are.

    turn = max(time of arrival, turn of the line's previous piece + time that piece takes)

A piece's share is the time at which its caller, alone on the device, would begin it, and the queue is ordered
by it. A caller's pieces follow each other in order of turn. The first piece of a quiet caller therefore goes
before the backlog of a busy one, in however many domains that is.

    share = max(time of arrival, share of the caller's previous piece + time that piece takes)

The pieces before one in its caller have an earlier turn, so they are finitely many, and its share is finite.
With a single caller the order is that of turns.

Within a line, pieces follow each other by the time at which their request, alone on the device, would begin
them. A short recording therefore goes before the rest of a long one that came earlier. That time is fixed
when a request comes, so requests without end hold up a piece only until then.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

Line = tuple[str | None, str | None]  # caller and domain

SIMILAR = 0.5  # shortest row of a batch, as a share of its longest; shorter ones would be mostly padding


@dataclass(eq=False)
class Waiting[T]:
    """One piece in the queue, with its cost and its turn."""

    item: T
    owner: object  # the request; its pieces are discarded together
    domain: str | None  # digest, among whose pieces it takes turns; None is the base
    audio_s: float
    row_s: float  # audio_s after padding, if it is alone in a batch
    caller: str | None = None  # among whose pieces it has a share of the device
    blend: str | None = None  # digest of the cores that it needs, if they are a blend's and not the domain's
    entered_s: float = field(default=0.0, init=False)
    takes_s: float = field(default=0.0, init=False)  # time on the device, if it is alone in a batch
    alone_s: float = field(default=0.0, init=False)  # when it would begin if its request were alone
    turn_s: float = field(default=0.0, init=False)
    share_s: float = field(default=0.0, init=False)

    @property
    def line(self) -> Line:
        """The pieces that take turns with it."""
        return self.caller, self.domain


class Scheduler[T]:
    """The queue. Thread-safe. Takes all pieces of a request or none."""

    def __init__(self, max_audio_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.max_audio_s = max_audio_s
        self._clock = clock
        self._waiting: list[Waiting[T]] = []  # by share
        self._next: dict[Line, float] = {}  # earliest turn of the line's next piece
        self._counts: Counter[Line] = Counter()
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

    def ahead_s(self, domain: str | None, caller: str | None = None) -> float:
        """Return the part of `padded_s` that comes before a piece of the caller and the domain put now."""
        with self._changed:
            now_s = self._clock()
            line = [piece for piece in self._waiting if piece.line == (caller, domain)]
            before = sorted((piece for piece in line if piece.alone_s <= now_s), key=_alone_s)
            turn_s = line[0].turn_s if line else now_s
            for piece in before:
                turn_s = max(piece.entered_s, turn_s) + piece.takes_s
            turn_s = max(now_s, turn_s)
            own = [piece for piece in self._waiting if piece.caller == caller]
            share_s = own[0].share_s if own else now_s
            before += [each for each in own if each.domain != domain and each.turn_s <= turn_s]
            for piece in sorted(before, key=_entered_s):
                share_s = max(piece.entered_s, share_s) + piece.takes_s
            share_s = max(now_s, share_s)
            others = (each for each in self._waiting if each.caller != caller and each.share_s <= share_s)
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
            lines = {piece.line for piece in pieces}
            shares = self._back_to_first(lines)
            for piece in pieces:
                piece.entered_s, piece.takes_s, piece.alone_s = now_s, piece.row_s / speed, alone_s
                alone_s += piece.takes_s
                self._counts[piece.line] += 1
            self._waiting += pieces
            self._lay_all(lines, shares)
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

        The first piece always goes. Others join in order under three conditions: the number of rows
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

        The other pieces of its caller move up into what is freed, but not before their own arrival.
        """
        with self._changed:
            gone = [piece for piece in self._waiting if piece.owner == owner]
            lines = {piece.line for piece in gone}
            shares = self._back_to_first(lines)
            self._remove(gone)
            self._lay_all(lines, shares)

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

    def _back_to_first(self, lines: Set[Line]) -> dict[str | None, float]:
        """Set the next turn of these lines back to the turn of the first piece of each.

        Return the share of the first piece of each of their callers.
        """
        callers = {caller for caller, _ in lines}
        shares: dict[str | None, float] = {}
        for piece in reversed(self._waiting):
            if piece.line in lines:
                self._next[piece.line] = piece.turn_s
            if piece.caller in callers:
                shares[piece.caller] = piece.share_s
        return shares

    def _lay_all(self, lines: Set[Line], shares: dict[str | None, float]) -> None:
        """Give the pieces of these lines turns anew, and those of their callers shares.

        Turns begin with the next one of the line, shares with the one that the caller's first piece had.
        """
        for piece in sorted(self._waiting, key=_alone_s):
            if piece.line in lines:
                piece.turn_s = max(piece.entered_s, self._next.get(piece.line, piece.entered_s))
                self._next[piece.line] = piece.turn_s + piece.takes_s
        callers = {caller for caller, _ in lines}
        self._waiting.sort(key=lambda each: each.turn_s)
        for piece in self._waiting:
            if piece.caller in callers:
                piece.share_s = max(piece.entered_s, shares.get(piece.caller, piece.entered_s))
                shares[piece.caller] = piece.share_s + piece.takes_s
        self._waiting.sort(key=lambda each: each.share_s)

    def _remove(self, pieces: Sequence[Waiting[T]]) -> None:
        gone = set(map(id, pieces))
        self._waiting = [piece for piece in self._waiting if id(piece) not in gone]
        self._waiting_s = sum(piece.audio_s for piece in self._waiting)  # summed anew against rounding drift
        self._counts.subtract(piece.line for piece in pieces)
        for piece in pieces:
            if not self._counts[piece.line]:  # forget the turn of a line without pieces
                self._next.pop(piece.line, None)
                del self._counts[piece.line]


def _alone_s(piece: Waiting[Any]) -> float:
    return piece.alone_s


def _entered_s(piece: Waiting[Any]) -> float:
    return piece.entered_s
