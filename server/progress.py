"""How far running requests are, for clients that name theirs in the header X-SSVD-Request-ID."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from server.errors import ApiError

REQUEST_ID_HEADER = "X-SSVD-Request-ID"
_ID = re.compile(r"[A-Za-z0-9_-]{16,64}")  # long enough that nobody guesses another's


@dataclass
class Pieces:
    """Pieces of one request's audio: how many there are, and how many are decoded. Both 0 until it is cut."""

    total: int = 0
    done: int = 0

    def note(self, done: int, total: int) -> None:
        """Set both. The engine calls this."""
        self.done, self.total = done, total


class Progress:
    """The pieces of running requests, by the id that the client chose. Used on the event loop only."""

    def __init__(self) -> None:
        self._running: dict[str, Pieces] = {}

    @contextmanager
    def of(self, request_id: str | None) -> Iterator[Pieces]:
        """The pieces of a request, findable within the block. Without an id nobody can find them.

        Raises ApiError 400 for an id that is malformed or in use.
        """
        pieces = Pieces()
        if request_id is None:
            yield pieces
            return
        if not _ID.fullmatch(request_id) or request_id in self._running:
            what = "in use" if request_id in self._running else "not 16 to 64 letters, digits, - or _"
            raise ApiError(
                400, f"{REQUEST_ID_HEADER} is {what}", code="invalid_value", param=REQUEST_ID_HEADER
            )
        self._running[request_id] = pieces
        try:
            yield pieces
        finally:
            del self._running[request_id]

    def find(self, request_id: str) -> Pieces:
        """Return the pieces of a running request.

        Raises ApiError 404 if none has this id: it has ended, has not begun, or never was.
        """
        try:
            return self._running[request_id]
        except KeyError:
            raise ApiError(404, "no request with this id is running", code="request_not_found") from None
