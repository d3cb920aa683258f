"""Spaces between words and texts, which some scripts are written without."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

# Beginnings of Unicode names of letters that are written without spaces between words.
_UNSPACED = ("CJK ", "HIRAGANA ", "KATAKANA ", "THAI ", "LAO ", "MYANMAR ", "KHMER ", "TIBETAN ")


def is_unspaced(letter: str) -> bool:
    """Return whether words of this letter's script are written without spaces between them."""
    return bool(letter) and unicodedata.name(letter, "").startswith(_UNSPACED)


def is_in_words(character: str) -> bool:
    """Return whether a character is a letter, a digit or a mark on one; False for an empty text."""
    return character.isalnum() or (bool(character) and unicodedata.category(character).startswith("M"))


def gap_before(text: str) -> str:
    """Return what stands before a text that goes on: a space, or nothing if its script has none.

    The text's first letter or digit decides.
    """
    first = next((letter for letter in text if letter.isalnum()), "")
    return "" if is_unspaced(first) else " "


def joined_texts(texts: Iterable[str]) -> str:
    """Return texts as one. Empty ones, and spaces at their ends, are left out."""
    return "".join(gap_before(bare) + bare for text in texts if (bare := text.strip())).strip()
