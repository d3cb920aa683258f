"""Letters: which characters are parts of words, and which scripts write words without spaces."""

from __future__ import annotations

import unicodedata

# Beginnings of Unicode names of letters that are written without spaces between words.
_UNSPACED = ("CJK ", "HIRAGANA ", "KATAKANA ", "THAI ", "LAO ", "MYANMAR ", "KHMER ", "TIBETAN ")


def is_unspaced(letter: str) -> bool:
    """Return whether words of this letter's script are written without spaces between them."""
    return bool(letter) and unicodedata.name(letter, "").startswith(_UNSPACED)


def is_in_words(character: str) -> bool:
    """Return whether a character is a letter, a digit or a mark on one; False for an empty text."""
    return character.isalnum() or (bool(character) and unicodedata.category(character).startswith("M"))
