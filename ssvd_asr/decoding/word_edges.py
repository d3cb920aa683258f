"""Edges of words in a vocabulary: which tokens go on within a word, and which leave one open."""

from __future__ import annotations

from typing import Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from ssvd_asr.base.model import Tokens
from ssvd_asr.writing import is_in_words, is_unspaced

# letter: of a script with spaces; unspaced: of one without; sign: all else, also no character at all
Kind = Literal["letter", "unspaced", "sign"]

_LOST = "\ufffd"  # stands for bytes that are no whole character
_SIGNS = 0xE2  # first byte of U+2000 to U+2FFF: quotes, dashes and other signs


class WordEdges:
    """Edges of words in the tokens of a base.

    Attributes:
        begins: the kind of each token's first character. A part of a character counts as a letter, but in the
            range of signs. Symbols have no character.
        ends: the kind of each token's last character.
        goes_on: (V,) bool on the device: whether a token that follows a letter goes on within its word.
    """

    def __init__(self, tokens: Tokens, device: torch.device) -> None:
        """Read the characters of each token."""
        read = [tokens.token_bytes(index) for index in range(len(tokens))]
        self.begins = [_first(data) for data in read]
        self.ends = [_last(data) for data in read]
        self.goes_on: Tensor = torch.tensor([kind == "letter" for kind in self.begins], device=device)


_read: WeakKeyDictionary[Tokens, WordEdges] = WeakKeyDictionary()


def word_edges(tokens: Tokens, device: torch.device) -> WordEdges:
    """Return the edges of a vocabulary, which are read once for each base and device."""
    edges = _read.get(tokens)
    if edges is None or edges.goes_on.device != device:
        edges = _read[tokens] = WordEdges(tokens, device)
    return edges


def kind_of(character: str) -> Kind:
    """Return the kind of a character, or of an empty text."""
    if is_unspaced(character):
        return "unspaced"
    return "letter" if is_in_words(character) else "sign"


def _first(data: bytes) -> Kind:
    first = data.decode("utf-8", errors="replace")[:1]
    if first == _LOST:
        return "sign" if data[0] == _SIGNS else "letter"
    return kind_of(first)


def _last(data: bytes) -> Kind:
    last = data.decode("utf-8", errors="replace")[-1:]
    if last == _LOST:  # the end of a character alone does not tell what it is
        return "letter" if data[0] >= 0xC0 and data[0] != _SIGNS else "sign"
    return kind_of(last)
