"""Joining of utterances into one wave: silent ends taken off, edges faded, short gaps between.

Adapters trained on single sentences fail where sentences follow one another closely. Joined rows show them
such places.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ssvd_asr.audio.read import SAMPLE_RATE

FloatArray = npt.NDArray[np.float32]
Span = tuple[int, int]  # first sample, and the one after the last

SILENT_SHARE = 0.001  # of a wave's peak; samples below it at the ends are taken off
FADE_SAMPLES = 80  # 5 ms, so that a joint does not click
# Ranges of the silence between neighbours. Each is as likely as the others.
_GAPS_S = ((0.0, 0.0), (0.0, 0.15), (0.1, 0.5))
MAX_GAP_SAMPLES = round(max(high for _, high in _GAPS_S) * SAMPLE_RATE)


def joined(waves: Sequence[FloatArray], rng: np.random.Generator) -> tuple[FloatArray, tuple[Span, ...]]:
    """Return the waves one after the other at 16 kHz, and the span of samples that each fills.

    Each wave is trimmed and faded. Draws two numbers from ``rng`` for each gap.
    """
    parts: list[FloatArray] = []
    spans: list[Span] = []
    length = 0
    for wave in waves:
        if parts:
            gap = _gap_samples(rng)
            parts.append(np.zeros(gap, np.float32))
            length += gap
        part = faded(trimmed(wave))
        parts.append(part)
        spans.append((length, length + len(part)))
        length += len(part)
    return np.concatenate(parts), tuple(spans)


def trimmed(wave: FloatArray) -> FloatArray:
    """Return the wave without its silent ends. A wave of zeros stays whole: no sample is below its peak."""
    level = np.abs(wave)
    loud = np.flatnonzero(level >= SILENT_SHARE * level.max(initial=0.0))
    return wave[loud[0] : loud[-1] + 1] if loud.size else wave


def faded(wave: FloatArray) -> FloatArray:
    """Return a copy with a linear fade of FADE_SAMPLES at both ends, or of half the wave if that is less."""
    count = min(FADE_SAMPLES, len(wave) // 2)
    ramp = np.linspace(0, 1, count, dtype=np.float32)
    copy = wave.copy()
    copy[:count] *= ramp
    copy[len(copy) - count :] *= ramp[::-1]
    return copy


def _gap_samples(rng: np.random.Generator) -> int:
    low_s, high_s = _GAPS_S[rng.integers(len(_GAPS_S))]
    return round(rng.uniform(low_s, high_s) * SAMPLE_RATE)
