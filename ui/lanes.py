"""HTML of the lanes under the waveform: each word of a short recording at its time.

A lane is a grid as wide as the waveform. The browser puts words that would overlap into further rows.
Keyboards and screen readers use the words in the transcripts, so the lanes are hidden from them.
"""

from __future__ import annotations

from html import escape

from ui.client import Transcript
from ui.heard import HeardWord

COLUMNS = 112  # of a lane; 2 for a letter
MAX_ROWS = 5  # above, words would stand too far from their time


def lanes(*transcripts: Transcript) -> str:
    """Return a lane for each transcript, or nothing if the words of one need more than MAX_ROWS rows."""
    if any(_rows(each) > MAX_ROWS for each in transcripts):
        return ""
    return "".join(map(_lane, transcripts))


def title_of(transcript: Transcript) -> str:
    """Return what a transcript is called beside another."""
    if transcript.mixed:
        return "With what was found out for each part"
    return "Base model" if transcript.domain is None else f"With domain {transcript.domain}"


def kind_of(transcript: Transcript) -> str:
    """Return "base" or "domain", for ids and colours."""
    return "base" if transcript.domain is None and not transcript.mixed else "domain"


def said_at(word: HeardWord) -> str:
    """Return the attributes of a button that plays a word with times."""
    return f'type="button" data-start-s="{word.start_s}" title="{word.start_s:.2f} s: play from here"'


def _rows(transcript: Transcript) -> float:
    return sum(map(_columns, transcript.words)) / COLUMNS


def _columns(word: HeardWord) -> int:
    return min(2 * len(word.text) + 3, COLUMNS)


def _lane(transcript: Transcript) -> str:
    words = "".join(_placed(word, transcript.duration_s) for word in transcript.words)
    title, kind = title_of(transcript), kind_of(transcript)
    return (
        f'<div class="ssvd-lane ssvd-{kind}" aria-hidden="true" style="--columns: {COLUMNS}">'
        f'<span class="ssvd-lane-title">{escape(title)}</span>{words}</div>'
    )


def _placed(word: HeardWord, duration_s: float) -> str:
    """Return the word's button at its time. At the end of the lane it moves left, to be whole."""
    if word.start_s is None:
        return ""
    width = _columns(word)
    first = min(int(COLUMNS * word.start_s / duration_s), COLUMNS - width)
    return (
        f'<button {said_at(word)} tabindex="-1" style="grid-column: {first + 1} / span {width}">'
        f"{escape(word.text)}</button>"
    )
