"""Segments of a reply: groups of words, cut at pauses and at the ends of sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from server.engine.messages import FloatArray, TextSegment
from ssvd_asr.audio.read import SAMPLE_RATE
from ssvd_asr.audio.segment import AUTO
from ssvd_asr.audio.speech import FRAME_SAMPLES, high_voice_probabilities, speech_probabilities
from ssvd_asr.decoding.align import TimedWord, text_of

MAX_SEGMENT_S = 30.0  # as in Whisper
MIN_PAUSE_S = 0.3  # between two words; a shorter pause does not end a segment
SENTENCE_ENDS = ".?!…。？！"
CLOSING = "\"'”’»)]"  # may follow the end of a sentence


def in_order(segments: Sequence[TextSegment]) -> tuple[TextSegment, ...]:
    """End each segment, and its words, no later than the next one starts.

    Pieces that were cut within speech hear some of the same audio, and may time it a little differently.
    """
    starts_s = [segment.start_s for segment in segments[1:]]
    limits_s = [*starts_s, float("inf")]
    return tuple(
        segment if segment.end_s <= limit_s else _ended(segment, max(limit_s, segment.start_s))
        for segment, limit_s in zip(segments, limits_s, strict=False)
    )


def _ended(segment: TextSegment, at_s: float) -> TextSegment:
    """The segment with all times at most `at_s`."""
    words = tuple(
        word
        if word.start_s is None or word.end_s is None
        else replace(word, start_s=min(word.start_s, at_s), end_s=min(word.end_s, at_s))
        for word in segment.words
    )
    return replace(segment, end_s=at_s, words=words)


def segments_of(words: Sequence[TimedWord], avg_logprob: float) -> tuple[TextSegment, ...]:
    """Cut words with times into segments at pauses, after sentences, and before MAX_SEGMENT_S is exceeded."""
    return tuple(_segment(group, avg_logprob) for group in _groups(words))


def _groups(words: Sequence[TimedWord]) -> Iterator[list[TimedWord]]:
    group: list[TimedWord] = []
    for word in words:
        if group and _ends(group, word):
            yield group
            group = []
        group.append(word)
    if group:
        yield group


def _ends(group: Sequence[TimedWord], following: TimedWord) -> bool:
    """Return whether a segment ends before the following word."""
    last = group[-1]
    pause_s = (following.start_s or 0.0) - (last.end_s or 0.0)
    length_s = (following.end_s or 0.0) - (group[0].start_s or 0.0)
    closed = last.word.rstrip(CLOSING).endswith(tuple(SENTENCE_ENDS))
    return closed or pause_s >= MIN_PAUSE_S or length_s > MAX_SEGMENT_S


def _segment(group: Sequence[TimedWord], avg_logprob: float) -> TextSegment:
    return TextSegment(
        start_s=group[0].start_s or 0.0,
        end_s=group[-1].end_s or 0.0,
        text=text_of(group),
        avg_logprob=avg_logprob,
        words=tuple(group),
    )


def speech_of(wave: FloatArray) -> FloatArray:
    """Return the probability of speech (frames,) in each frame of FRAME_SAMPLES of a wave.

    The second pass, for high voices, runs only if the first finds no speech.
    """
    seen = speech_probabilities(wave)
    return (
        seen if (seen >= AUTO.speech_probability).any() else np.maximum(seen, high_voice_probabilities(wave))
    )


def no_speech_prob(speech: FloatArray, segment: TextSegment) -> float:
    """Return 1 minus the highest value of `speech` (frames,) within the segment; 1 if it has no frames."""
    first = int(segment.start_s * SAMPLE_RATE) // FRAME_SAMPLES
    stop = int(segment.end_s * SAMPLE_RATE) // FRAME_SAMPLES + 1
    heard = speech[first:stop]
    return 1.0 - float(heard.max()) if len(heard) else 1.0
