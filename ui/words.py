"""Comparison of two transcripts word by word: which words differ, and how many are wrong."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher

_NOT_SPOKEN = re.compile(r"[^\w']+")


@dataclass(frozen=True)
class Word:
    """Word as it was written, and whether the other transcript differs in this place."""

    text: str
    differs: bool


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


def wrong_words(reference: str, transcript: str) -> tuple[int, int]:
    """Return (errors, words of the reference).

    Errors are the fewest words replaced, missing or added that explain the transcript.
    """
    spoken, heard = _keys(reference.split()), _keys(transcript.split())
    previous = list(range(len(heard) + 1))
    for row, word in enumerate(spoken, start=1):
        current = [row]
        for column, other in enumerate(heard, start=1):
            replaced = previous[column - 1] + (word != other)
            current.append(min(replaced, previous[column] + 1, current[-1] + 1))
        previous = current
    return previous[-1], len(spoken)


def _keys(words: list[str]) -> list[str]:
    """Return the words without case and punctuation. A word of punctuation alone stays as it is."""
    return [_NOT_SPOKEN.sub("", word).casefold() or word for word in words]
