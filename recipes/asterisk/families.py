"""Families of prompts that say the same words in a row: the menus of a conference, the ways to log in."""

from __future__ import annotations

from collections.abc import Iterable

WORDS_IN_A_ROW = 4


def families(texts: Iterable[str]) -> dict[str, str]:
    """Return the family of each text, named by the first of its texts in the order of the alphabet.

    Texts that share `WORDS_IN_A_ROW` words in a row are of one family; so are those linked through others.

    Args:
        texts: normalised.
    """
    ordered = sorted(set(texts))
    linked = {text: text for text in ordered}

    def first(text: str) -> str:
        while linked[text] != text:
            text = linked[text]
        return text

    said_by: dict[tuple[str, ...], str] = {}
    for text in ordered:
        words = text.split()
        for start in range(len(words) - WORDS_IN_A_ROW + 1):
            other = first(said_by.setdefault(tuple(words[start : start + WORDS_IN_A_ROW]), text))
            ours = first(text)
            linked[max(ours, other)] = min(ours, other)
    return {text: first(text) for text in ordered}
