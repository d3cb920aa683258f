"""Words of overlapping pieces: where two pieces hear the same speech, each word is said once.

Speech without a silence is cut at a quiet place, and each piece also hears some of its neighbour. A word at
the edge of a piece may be a fragment. So neighbours are joined where CTC finds the words likeliest
(`ssvd_asr.decoding.seam`).

Without CTC they are joined at a word that both heard at the same time, the nearest to the cut. Without such a
word, each word belongs to the piece in which its middle lies.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ssvd_asr.decoding.align import TimedWord
from ssvd_asr.decoding.seam import CtcFrames, likeliest_seam
from ssvd_asr.scoring import normalise

# Two pieces heard the same word if its middles lie no further apart. Alignment moves a word by up to 0.16 s
# (the 95th percentile in docs/results/true-out-times.md), and words last longer than this.
SAME_WORD_S = 0.25


@dataclass(frozen=True)
class Heard:
    """Words of one piece, with times from the start of the recording.

    Attributes:
        from_s, to_s: where the piece was cut within speech, in the same time. None is a silence or an end.
        ctc: what the CTC head heard, in the same time; None without one.
    """

    words: tuple[TimedWord, ...]
    from_s: float | None = None
    to_s: float | None = None
    ctc: CtcFrames | None = None


def own_words(pieces: Sequence[Heard]) -> list[tuple[TimedWord, ...]]:
    """Return the words that belong to each piece, given the pieces of a recording in order.

    Words without times cannot be told apart by them, so they all stay.
    """
    if not pieces:
        return []
    own: list[tuple[TimedWord, ...]] = []
    rest: Sequence[TimedWord] = pieces[0].words
    for left, right in zip(pieces, [*pieces[1:], None], strict=True):
        if right is None or left.to_s is None or right.from_s is None:
            own.append(tuple(rest))
            rest = () if right is None else right.words
            continue
        last, first = _junction(rest, right.words, left.to_s)
        if left.ctc is not None and right.ctc is not None:
            heard = left.ctc, right.ctc
            last, first = likeliest_seam(rest, right.words, left.to_s, heard, (last, first))
        own.append(tuple(word for place, word in enumerate(rest) if place <= last or word.start_s is None))
        rest = [word for place, word in enumerate(right.words) if place >= first or word.start_s is None]
    return own


def _junction(left: Sequence[TimedWord], right: Sequence[TimedWord], cut_s: float) -> tuple[int, int]:
    """Return the place of the last word that belongs to the left piece, and of the right piece's first."""
    same = list(_same_words(left, right))
    if same:
        place, match, _ = min(same, key=lambda found: abs(found[2] - cut_s))
        return place, match + 1
    before = [place for place, word in enumerate(left) if (at := word.middle_s) is not None and at < cut_s]
    after = [place for place, word in enumerate(right) if (at := word.middle_s) is not None and at >= cut_s]
    return (before[-1] if before else -1), (after[0] if after else len(right))


def _same_words(left: Sequence[TimedWord], right: Sequence[TimedWord]) -> Iterator[tuple[int, int, float]]:
    """Yield the places of a word that both pieces heard, and its time (s)."""
    for place, word in enumerate(left):
        at_s, said = word.middle_s, normalise(word.word)
        if at_s is None or not said:
            continue
        for match, other in enumerate(right):
            other_s = other.middle_s
            if other_s is None or abs(other_s - at_s) > SAME_WORD_S or normalise(other.word) != said:
                continue
            yield place, match, (at_s + other_s) / 2
