"""Comparison of transcripts word by word: with each other, and with what was said if that is known."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import zip_longest

import jiwer

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
    steps = aligned(left, right)
    return (
        [Word(step.said, not step.right) for step in steps if step.said is not None],
        [Word(step.heard, not step.right) for step in steps if step.heard is not None],
    )


def aligned(reference: str, transcript: str) -> list[Step]:
    """Return the steps that lead from what was said to what was heard, with as few errors as possible.

    Errors are the steps that are not right: words replaced, missing or added.
    """
    said, heard = reference.split(), transcript.split()
    if not said or not heard:  # jiwer refuses an empty reference
        return [Step(word, None) for word in said] + [Step(None, word) for word in heard]
    found = jiwer.process_words(" ".join(map(_key, said)), " ".join(map(_key, heard)))
    steps: list[Step] = []
    for part in found.alignments[0]:
        ours = said[part.ref_start_idx : part.ref_end_idx]
        theirs = heard[part.hyp_start_idx : part.hyp_end_idx]
        steps += [Step(*pair) for pair in zip_longest(ours, theirs)]  # one side is empty, or both are as long
    return steps


def _key(word: str) -> str:
    """Return a word without case and punctuation. A word of punctuation alone stays as it is."""
    return _NOT_SPOKEN.sub("", word).casefold() or word
