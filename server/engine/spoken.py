"""Language of a request whose pieces were each identified by the base."""

from __future__ import annotations

from collections.abc import Sequence

from server.engine.messages import PieceDecoding
from ssvd_asr.base.prompt import IDENTIFIED
from ssvd_asr.languages import language_name

UNDETERMINED = "<und>"  # as in ISO 639-3: nothing was heard


def spoken(wanted: str, pieces: Sequence[PieceDecoding]) -> tuple[str, tuple[str, ...]]:
    """Return the token of a request's language, and warnings about it.

    That is the language that the request names. If it is IDENTIFIED, it is the language of most seconds, and
    pieces in which the base heard another are told.
    """
    if wanted != IDENTIFIED:
        return wanted, ()
    seconds: dict[str, float] = {}
    for piece in pieces:
        seconds[piece.language] = seconds.get(piece.language, 0.0) + piece.end_s - piece.start_s
    if not seconds:
        return UNDETERMINED, ("language=auto: nothing was heard of which to identify the language",)
    most = max(seconds, key=seconds.__getitem__)
    return most, tuple(
        f"{piece.start_s:.2f} to {piece.end_s:.2f} s: identified and decoded as {_name(piece.language)}, "
        f"not as {_name(most)}"
        for piece in pieces
        if piece.language != most
    )


def _name(token: str) -> str:
    return language_name(token.strip("<>"))
