"""Filter for the words of overlapping pieces: each word belongs to the piece that holds its middle."""

from __future__ import annotations

from collections.abc import Sequence

from ssvd_asr.decoding.align import TimedWord


def own_words(words: Sequence[TimedWord], from_s: float | None, to_s: float | None) -> tuple[TimedWord, ...]:
    """Return the words whose middle is in [from_s, to_s), and those without times. None means no bound."""
    return tuple(word for word in words if _is_own(word, from_s, to_s))


def _is_own(word: TimedWord, from_s: float | None, to_s: float | None) -> bool:
    if word.start_s is None or word.end_s is None:
        return True
    middle_s = (word.start_s + word.end_s) / 2
    return (from_s is None or middle_s >= from_s) and (to_s is None or middle_s < to_s)
