"""How long audio was cut before: at a silence in each window's second half, and not at all where it fits.

Kept for comparison only, by `recipes.espeak.long_recordings`.
"""

from __future__ import annotations

import math

import numpy as np

from ssvd_asr.audio.segment import FloatArray, Span
from ssvd_asr.audio.speech import FRAME_SAMPLES

SPEECH_PROBABILITY = 0.3
MARGIN_FRAMES = 7


def cut_windows(frames: FloatArray, samples: int, window_samples: int) -> list[Span]:
    """Return spans of at most a window that together hold every frame of speech."""
    speech = np.flatnonzero(frames >= SPEECH_PROBABILITY)
    if not len(speech):
        return []
    if samples <= window_samples:
        return [Span(0, samples)]
    end = min(samples, (int(speech[-1]) + 1 + MARGIN_FRAMES) * FRAME_SAMPLES)
    spans: list[Span] = []
    start = 0
    while True:
        ahead = speech[(speech + 1) * FRAME_SAMPLES > start]
        if not len(ahead):
            return spans
        start = max(start, (int(ahead[0]) - MARGIN_FRAMES) * FRAME_SAMPLES)
        if end - start <= window_samples:
            return [*spans, Span(start, end)]
        stop = _place_to_cut(frames, start, window_samples)
        spans.append(Span(start, stop))
        start = stop


def _place_to_cut(frames: FloatArray, start: int, window_samples: int) -> int:
    first = math.ceil((start + window_samples // 2) / FRAME_SAMPLES)
    stop = (start + window_samples) // FRAME_SAMPLES
    first = min(first, stop - 1)
    silent = np.concatenate([[0], frames[first:stop] < SPEECH_PROBABILITY, [0]]).astype(np.int8)
    edges = np.flatnonzero(np.diff(silent))
    starts, lengths = edges[::2], edges[1::2] - edges[::2]
    if not len(lengths):
        return (first + int(np.argmin(frames[first:stop]))) * FRAME_SAMPLES + FRAME_SAMPLES // 2
    best = len(lengths) - 1 - int(np.argmax(lengths[::-1]))  # the later of equals
    return int((first + starts[best]) * FRAME_SAMPLES + lengths[best] * FRAME_SAMPLES // 2)
