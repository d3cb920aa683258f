"""When each word of an utterance is spoken, by espeak-ng's own word events."""

from __future__ import annotations

import bisect
import functools
from pathlib import Path

from recipes.espeak.phonemes import Aligner
from recipes.espeak.speak import Speaker, child_phonemes
from recipes.espeak.voices import data_folder

ESPEAK_RATE_HZ = 22_050


def word_starts_s(text: str, domain: str, speaker: Speaker) -> list[float | None]:
    """Return the start of every word of `text` in the wave that `speak` makes of it, in seconds.

    None for a word that espeak-ng speaks together with the one before it: the two have one event. A child's
    text is spoken from its mnemonics; where their number is not that of the text's events, no word has one.
    """
    words = text.split()
    aligner = _aligner(data_folder(speaker.variant))
    events = _by_place(aligner.words(text, speaker)[0], text)
    if domain == "child":
        spoken = child_phonemes(text, speaker)
        # The two brackets before the mnemonics count as places.
        heard = _by_place([(at - 2, ms) for at, ms in aligner.words(f"[[{spoken}]]", speaker)[0]], spoken)
        if len(heard) != len(events) or len(heard) != len(spoken.split()):
            return [None] * len(words)
        events = dict(zip(events, heard.values(), strict=True))
    return [
        events[place] / 1000 / speaker.tract_scale if place in events else None for place in range(len(words))
    ]


def _by_place(events: list[tuple[int, int]], text: str) -> dict[int, int]:
    """Map the place of a word among the words of `text` to the start of its first event, in ms."""
    starts = [at for at in range(len(text)) if not text[at].isspace() and (at == 0 or text[at - 1].isspace())]
    found: dict[int, int] = {}
    for at, ms in events:
        if 0 <= at < len(text):  # the last event may be that of the end
            found.setdefault(bisect.bisect_right(starts, at) - 1, ms)
    return found


@functools.cache
def _aligner(data: Path) -> Aligner:
    return Aligner(data)
