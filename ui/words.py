"""Comparison of transcripts word by word: with each other, and with what was said if that is known."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

_NOT_SPOKEN = re.compile(r"[^\w']+")


@dataclass(frozen=True)
class Word:
    """Word as it was written, and whether the other transcript differs in this place."""

    text: str
    differs: bool


@dataclass(frozen=True)
class Step:
    """One step of an alignment: a word that was said, a word that was heard, or both in one place."""

    said: str | None  # None: nothing was said here
    heard: str | None  # None: what was said is missing

    @property
    def right(self) -> bool:
        """Whether the word was heard as it was said. Case and punctuation do not count."""
        return self.said is not None and self.heard is not None and _key(self.said) == _key(self.heard)


def compare(left: str, right: str) -> tuple[list[Word], list[Word]]:
    """Return both transcripts as words. A word is marked if the other has no such word in its place.

    Case and punctuation do not make words differ.
    """
    ours, theirs = left.split(), right.split()
    matcher = SequenceMatcher(None, _keys(ours), _keys(theirs), autojunk=False)
    same_left: set[int] = set()
    same_right: set[int] = set()
    for block in matcher.get_matching_blocks():
        same_left.update(range(block.a, block.a + block.size))
        same_right.update(range(block.b, block.b + block.size))
    return (
        [Word(word, index not in same_left) for index, word in enumerate(ours)],
        [Word(word, index not in same_right) for index, word in enumerate(theirs)],
    )


def aligned(reference: str, transcript: str) -> list[Step]:
    """Return the steps that lead from what was said to what was heard, with as few errors as possible.

    Errors are the steps that are not right: words replaced, missing or added.
    """
    said, heard = reference.split(), transcript.split()
    costs = _costs(_keys(said), _keys(heard))
    steps: list[Step] = []
    row, column = len(said), len(heard)
    while row or column:
        here = costs[row][column]
        pair = Step(said[row - 1] if row else None, heard[column - 1] if column else None)
        if row and column and here == costs[row - 1][column - 1] + (not pair.right):
            row, column = row - 1, column - 1
        elif row and here == costs[row - 1][column] + 1:
            pair, row = Step(pair.said, None), row - 1
        else:
            pair, column = Step(None, pair.heard), column - 1
        steps.append(pair)
    return steps[::-1]


def _costs(said: Sequence[str], heard: Sequence[str]) -> list[list[int]]:
    """Return the fewest errors between the first i words said and the first j words heard, as [i][j]."""
    rows = [list(range(len(heard) + 1))]
    for number, word in enumerate(said, start=1):
        row = [number]
        for column, other in enumerate(heard, start=1):
            replaced = rows[-1][column - 1] + (word != other)
            row.append(min(replaced, rows[-1][column] + 1, row[-1] + 1))
        rows.append(row)
    return rows


def _key(word: str) -> str:
    """Return a word without case and punctuation. A word of punctuation alone stays as it is."""
    return _NOT_SPOKEN.sub("", word).casefold() or word


def _keys(words: Sequence[str]) -> list[str]:
    return list(map(_key, words))
