"""Words of overlapping pieces: where two pieces hear the same speech, each word is said once.

Speech without a silence is cut at a quiet place, and each piece also hears some of its neighbour. A word at
the edge of a piece may be a fragment. So neighbours are joined where CTC finds the words likeliest
(`ssvd_asr.decoding.seam`).

Without CTC they are joined at a word that both heard at the same time, the nearest to the cut. Without such a
word, each word belongs to the piece in which its middle lies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
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


class Seams:
    """Tells the words that belong to each piece of a recording, as soon as they are certain.

    Words without times cannot be told apart by them, so they all stay.
    """

    def __init__(self) -> None:
        self._left: Heard | None = None  # a piece that was cut within speech, whose right end is open
        self._rest: Sequence[TimedWord] = ()  # its words that are not its left neighbour's

    def take(self, piece: Heard) -> list[tuple[TimedWord, ...]]:
        """Take the next piece, and return the words of the pieces that are now certain, in order."""
        found = []
        if self._left is None or self._left.to_s is None or piece.from_s is None:
            found += self.end()
            self._rest = piece.words
        else:
            last, first = _junction(self._rest, piece.words, self._left.to_s)
            if self._left.ctc is not None and piece.ctc is not None:
                heard = self._left.ctc, piece.ctc
                last, first = likeliest_seam(self._rest, piece.words, self._left.to_s, heard, (last, first))
            found.append(_untimed_or(self._rest, lambda place: place <= last))
            self._rest = _untimed_or(piece.words, lambda place: place >= first)
        self._left = piece
        return found if piece.to_s is not None else [*found, *self.end()]

    def end(self) -> list[tuple[TimedWord, ...]]:
        """Return the words of the last piece, unless `take` has: no piece follows it."""
        left, self._left = self._left, None
        return [] if left is None else [tuple(self._rest)]


def own_words(pieces: Iterable[Heard]) -> list[tuple[TimedWord, ...]]:
    """Return the words that belong to each piece, given all pieces of a recording in order."""
    seams = Seams()
    return [*(words for piece in pieces for words in seams.take(piece)), *seams.end()]


def _untimed_or(words: Sequence[TimedWord], kept: Callable[[int], bool]) -> tuple[TimedWord, ...]:
    """Return the words whose place is kept, and those without times."""
    return tuple(word for place, word in enumerate(words) if kept(place) or word.start_s is None)


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
