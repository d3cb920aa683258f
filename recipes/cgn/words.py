"""Words of CGN's orthographic transcripts.

Source: Protocol voor Orthografische Transcriptie (2000) and CGN's documentation of the .ort format. A word
may end in *v (foreign), *d (dialect), *a (broken off), *u (slip of the tongue, sound), *z (spoken as in a
dialect), *n (new), *t (interjection) or *x (hard to understand). ggg is a sound other than speech, and xxx is
unintelligible speech.
"""

from __future__ import annotations

import html
import re
import unicodedata

UNINTELLIGIBLE = "xxx"  # Xxx for a name
SOUND = "ggg"

_ENTITY = re.compile(r"&\w+;")  # &eacute; in files that went through SGML
_PUNCTUATION = re.compile(r"[^\w\s'*&-]|_")
_QUOTES = str.maketrans({"’": "'", "‘": "'", "`": "'", "´": "'"})


def words_of(transcript: str) -> list[str]:
    """Return the words in their own case, without marks, punctuation and ggg, but with xxx.

    Apostrophes and hyphens stay ('t, zo'n, zee-egel). A broken-off word keeps the part that was spoken.
    """
    text = _ENTITY.sub(lambda found: html.unescape(found[0]), transcript)
    text = _PUNCTUATION.sub(" ", unicodedata.normalize("NFC", text).translate(_QUOTES))
    bare = (token.partition("*")[0] for token in text.split())
    return [word for word in bare if any(map(str.isalnum, word)) and word.lower() != SOUND]


def is_unintelligible(words: list[str]) -> bool:
    """Return whether a word, or a part of a hyphenated one, is xxx."""
    return any(part.lower() == UNINTELLIGIBLE for word in words for part in word.split("-"))
