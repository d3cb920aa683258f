"""Words that repeat without end: when a search stops for them, and rules for another greedy search.

A rule takes the tokens that a row has said, without times, and returns those that may not follow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ssvd_asr.base.model import Tokens
from ssvd_asr.decoding.hypothesis import spoken

Rule = Callable[[Sequence[int]], set[int]]

NGRAM = 3
ENDLESS = 64  # tokens
LOOK_EVERY = 16  # tokens


def no_third_time(said: Sequence[int]) -> set[int]:
    """Return the tokens that begin a phrase again which has just been said twice.

    That is `the` after `the sea the sea`. Phrases of all lengths count.
    """
    found = set()
    for length in range(1, len(said) // 2 + 1):
        if said[-2 * length : -length] == said[-length:]:
            found.add(said[-length])
    return found


def no_ngram_again(said: Sequence[int]) -> set[int]:
    """Return the tokens that complete NGRAM tokens which have been said in this order before, anywhere.

    It ends loops that vary, and spoils words that are rightly said again. Other tools know the rule as
    `no_repeat_ngram_size`.
    """
    begun = said[len(said) - NGRAM + 1 :]
    return {
        said[place + NGRAM - 1]
        for place in range(len(said) - NGRAM + 1)
        if said[place : place + NGRAM - 1] == begun
    }


def goes_on(said: Sequence[int]) -> bool:
    """Return whether a phrase that had just been said twice was begun again, as every loop does."""
    return any(said[end] in no_third_time(said[:end]) for end in range(2, len(said)))


def begins_to_loop(said: Sequence[int], loops_from: int | None, tokens: Tokens) -> bool:
    """Return whether a row of so many tokens or more says one phrase without end. It looks now and then."""
    if loops_from is None or len(said) < loops_from or len(said) % LOOK_EVERY:
        return False
    return is_endless(spoken(said, tokens))


def is_endless(said: Sequence[int]) -> bool:
    """Return whether the last ENDLESS tokens are one phrase, three times at least.

    A base that has come so far goes on to its limit, and a beam's steps there take a minute on a CPU.
    """
    tail = said[-ENDLESS:]
    return len(tail) == ENDLESS and any(tail[p:] == tail[:-p] for p in range(1, ENDLESS // 3 + 1))


RULES: tuple[Rule, ...] = (no_third_time, no_ngram_again)  # the milder first
