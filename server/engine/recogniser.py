"""Recogniser: the model as the engine sees it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from server.bank.bank import AdapterSource
from server.bank.mount import Mount
from server.bank.packed import PackedAdapter
from server.engine.messages import Decoded, Piece


@dataclass(frozen=True)
class CheckedAdapter:
    """An adapter file that this base can serve, and what is left to check: on the device's thread only."""

    packed: PackedAdapter
    canary: Callable[[], object]  # raises AdapterError


class Recogniser(AdapterSource, Protocol):
    """A model that decodes pieces of any domains together. The engine's tests use one without a network."""

    name: str  # of the base
    digest: str  # of the base, "sha256:..."
    window_samples: int  # at 16 kHz
    longest_piece_samples: int  # at most the window: how much speech without a silence it bears
    piece_context_samples: int  # see Window
    bears_silences: bool  # within a piece; see Window
    knows_previous_text: bool  # else a previous text makes results worse
    identifies_language: bool  # of a piece whose language is IDENTIFIED
    translates: bool  # into English
    voice_probe: str  # how the voice points of pieces that listen are made

    @property
    def languages(self) -> Collection[str]:
        """The languages of the base, as "<eng>"."""
        ...

    def check_keywords(self, keywords: Sequence[str]) -> None:
        """Raise KeywordError if the base or the search cannot look for these, or if they are over a limit."""
        ...

    def row_samples(self, samples: int) -> int:
        """Return the length to which a piece of `samples` is padded when it is alone in a batch."""
        ...

    def check_adapter(self, data: bytes) -> CheckedAdapter:
        """Check a file that is to be published as `read_adapter` does; its canary is left. On any thread.

        Raises AdapterError if the file is damaged, or made for another base or basis.
        """
        ...

    def decode(self, pieces: Sequence[Piece], mount: Mount) -> list[Decoded]:
        """Decode pieces as one batch and return the results in order. Called from the device thread only."""
        ...
