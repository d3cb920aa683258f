"""Keywords: names and terms that a request expects, their bounds, and their spellings in a base's pieces."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from ssvd_asr.base.model import Tokens
from ssvd_asr.errors import KeywordError
from ssvd_asr.writing import is_in_words

MAX_KEYWORDS = 300  # of one request: its rows look at all of them at each step
MAX_KEYWORD_CHARS = 100
_HYPHEN = "-"


def distinct_keywords(texts: Iterable[str]) -> tuple[str, ...]:
    """Return keywords as they were given, without spaces at their ends, each once."""
    return tuple(dict.fromkeys(text.strip() for text in texts))


def check_keywords(tokens: Tokens, keywords: Sequence[str]) -> None:
    """Raise KeywordError, which names the keyword, if a base cannot look for these."""
    if len(keywords) > MAX_KEYWORDS:
        raise KeywordError(f"{len(keywords)} keywords: the limit is {MAX_KEYWORDS}")
    for keyword in keywords:
        if len(keyword) > MAX_KEYWORD_CHARS:
            raise KeywordError(
                f"keyword {keyword[:20]!r}... has {len(keyword)} characters: the limit is {MAX_KEYWORD_CHARS}"
            )
        if not any(map(is_in_words, keyword)):
            raise KeywordError(f"keyword {keyword!r} has neither a letter nor a digit")
        if not spellings(tokens, keyword):
            lacking = [letter for letter in dict.fromkeys(keyword) if not _is_known(tokens, letter)]
            shown = ", ".join(map(repr, lacking)) or "it as a word"
            raise KeywordError(f"keyword {keyword!r}: the base's vocabulary does not have {shown}")


def spellings(tokens: Tokens, keyword: str) -> list[tuple[int, ...]]:
    """Return the ids of a keyword in each way a transcript may spell it, none if the vocabulary lacks it.

    These are as given, in lower case, in capitals and with capitals at the start of the text or of each word,
    as far as the vocabulary has them; each as it stands after a space, and as it stands after a hyphen.
    """
    found: dict[tuple[int, ...], None] = {}
    for text in _cases(" ".join(unicodedata.normalize("NFC", keyword).split())):
        for ids in (tokens.encode(text), _unspaced(tokens, text)):
            if ids and _is_text(tokens, ids):
                found[tuple(ids)] = None
    return sorted(found)


def _cases(text: str) -> list[str]:
    low = text.lower()
    titled = " ".join(word[:1].upper() + word[1:] for word in low.split())
    return list(dict.fromkeys([text, text[:1].upper() + text[1:], low, low[:1].upper() + low[1:], titled,
                               text.upper()]))  # fmt: skip


def _unspaced(tokens: Tokens, text: str) -> list[int]:
    """Return the ids of a text without a space before it; none where the pieces do not tell them."""
    ids = tokens.encode(_HYPHEN + text)
    data = b""
    for place, index in enumerate(ids, 1):
        data += tokens.token_bytes(index)
        if data.strip() == _HYPHEN.encode():
            return ids[place:]
    return []


def _is_text(tokens: Tokens, ids: Sequence[int]) -> bool:
    return tokens.unk not in ids and all(tokens.token_bytes(index) for index in ids)


def _is_known(tokens: Tokens, letter: str) -> bool:
    cases = dict.fromkeys([letter, letter.lower(), letter.upper()])
    return letter.isspace() or any(_is_text(tokens, tokens.encode(each)) for each in cases)
