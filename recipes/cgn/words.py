"""CGN's orthographic transcripts as words.

Source: Protocol voor Orthografische Transcriptie (2000) and CGN's documentation of the .ort format. A word
may end in *v (foreign), *d (dialect), *a (broken off), *u (slip of the tongue, sound), *z (spoken as in a
dialect), *n (new), *t (interjection), *x (hard to understand); ggg is a sound that is no speech, xxx speech
that nobody understood.
"""

from __future__ import annotations

import html
import re
import unicodedata

UNINTELLIGIBLE = "xxx"  # Xxx where it is a name
SOUND = "ggg"

_ENTITY = re.compile(r"&\w+;")  # &eacute; in files that went through SGML
_PUNCTUATION = re.compile(r"[^\w\s'*&-]|_")
_QUOTES = str.maketrans({"’": "'", "‘": "'", "`": "'", "´": "'"})


def words_of(transcript: str) -> list[str]:
    """The words in their own letters: marks and punctuation gone, ggg left out, xxx still there.

    Apostrophes and hyphens stay ('t, zo'n, zee-egel); of a word broken off stays what was said.
    """
    text = _ENTITY.sub(lambda found: html.unescape(found[0]), transcript)
    text = _PUNCTUATION.sub(" ", unicodedata.normalize("NFC", text).translate(_QUOTES))
    bare = (token.partition("*")[0] for token in text.split())
    return [word for word in bare if any(map(str.isalnum, word)) and word.lower() != SOUND]


def is_unintelligible(words: list[str]) -> bool:
    """Whether something was said that the words do not hold."""
    return any(part.lower() == UNINTELLIGIBLE for word in words for part in word.split("-"))
