"""Subtitles of a reply, in cues of at most two lines, as SubRip (srt) or WebVTT (vtt)."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal, NamedTuple

import pysubs2

from server.engine.messages import Reply, TextSegment

MAX_LINES = 2
MAX_LINE_CHARS = 42

SubtitleFormat = Literal["srt", "vtt"]


@dataclass(frozen=True)
class Cue:
    """Lines shown from start_s to end_s, seconds from the start of the audio."""

    start_s: float
    end_s: float
    lines: tuple[str, ...]
    channel: int | None = None


def subtitles(reply: Reply, subtitle_format: SubtitleFormat) -> str:
    """Return the reply's cues as the content of a file of this format, with the words of the reply's text."""
    file = pysubs2.SSAFile()
    for cue in sorted(cues(reply.segments), key=lambda cue: cue.start_s if reply.channels else 0):
        event = pysubs2.SSAEvent(start=round(1000 * cue.start_s), end=round(1000 * cue.end_s))
        event.plaintext = _shown(cue, subtitle_format)
        file.append(event)
    # Without keep_ssa_tags, text in braces counts as styling and is dropped.
    return file.to_string(subtitle_format, keep_ssa_tags=True)


def _shown(cue: Cue, subtitle_format: SubtitleFormat) -> str:
    """Return the lines of a cue. Its channel is a voice in WebVTT, and a line of its own in SubRip."""
    text = "\n".join(cue.lines)
    if subtitle_format == "srt":
        return text if cue.channel is None else f"[channel {cue.channel}]\n{text}"
    escaped = html.escape(text, quote=False)  # WebVTT reads "<" and "&" as markup
    return escaped if cue.channel is None else f"<v channel {cue.channel}>{escaped}"


def cues(segments: Sequence[TextSegment]) -> Iterator[Cue]:
    """Cut segments into cues of at most MAX_LINES lines of MAX_LINE_CHARS characters.

    A cue lasts from the start of its first word to the end of its last. Where a segment has a word without
    times, its words share the segment's time by length.
    """
    for segment in segments:
        group: list[_Timed] = []
        for word in _timed(segment):
            if group and len(_lines([*group, word])) > MAX_LINES:
                yield _cue(group, segment.channel)
                group = []
            group.append(word)
        if group:
            yield _cue(group, segment.channel)


class _Timed(NamedTuple):
    """A word, or a part of a word that is too long for a line."""

    text: str
    start_s: float
    end_s: float
    gap: str = " "  # before it, see TimedWord


def _timed(segment: TextSegment) -> list[_Timed]:
    """Split a segment into words that fit on a line. Parts of a long word share its time."""
    parts = []
    for word in segment.words:
        if word.start_s is None or word.end_s is None:
            return _by_length(segment.text.split(), segment.start_s, segment.end_s)
        for place, part in enumerate(_by_length([word.word], word.start_s, word.end_s)):
            parts.append(part._replace(gap="" if place else word.gap))
    return parts or _by_length(segment.text.split(), segment.start_s, segment.end_s)


def _by_length(words: Sequence[str], start_s: float, end_s: float) -> list[_Timed]:
    """Divide a stretch of time among words in proportion to their characters."""
    texts = [part for word in words for part in textwrap.wrap(word, MAX_LINE_CHARS)]
    ends = list(accumulate(map(len, texts)))
    step_s = (end_s - start_s) / ends[-1] if ends else 0.0
    return [
        _Timed(text, start_s + (end - len(text)) * step_s, min(start_s + end * step_s, end_s))
        for text, end in zip(texts, ends, strict=True)
    ]


def _lines(group: Sequence[_Timed]) -> list[str]:
    text = "".join(word.gap + word.text for word in group).strip()
    return textwrap.wrap(text, MAX_LINE_CHARS, break_on_hyphens=False)


def _cue(group: Sequence[_Timed], channel: int | None) -> Cue:
    return Cue(group[0].start_s, group[-1].end_s, tuple(_lines(group)), channel)
