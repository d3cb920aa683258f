"""Cutting of recordings at silences, and of speech without silences where it is quietest.

The detector (`ssvd_asr.audio.speech`) says which frames hold speech.  Its pass for high voices runs unless
the first one keeps the whole wave as one span.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ssvd_asr.audio.resample import SAMPLE_RATE
from ssvd_asr.audio.speech import (
    FRAME_SAMPLES,
    frame_levels,
    high_voice_probabilities,
    speech_probabilities,
)
from ssvd_asr.errors import AudioError

ENDING_FRAMES = 31  # 1 s: a silence up to this long at the end of the audio stays
LOUD_SHARE = 0.01  # of speech's power: louder frames count as speech, whatever the detector says
LEVEL_FRAMES = 3  # 96 ms: speech without a silence is cut where the mean over this length is lowest

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of audio [start, stop), in samples at 16 kHz.

    Attributes:
        before, after: neighbouring samples that are decoded with it as context, where it was cut within
            speech. They belong to the neighbouring spans.
    """

    start: int
    stop: int
    before: int = 0
    after: int = 0

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class CutRule:
    """Rule for cutting at silences. The defaults were chosen on owsm-nano's validation clips, joined."""

    speech_probability: float = 0.3  # below Silero's own 0.5: losing a word costs more than decoding a breath
    silence_s: float = 0.3  # silence of at least this length ends a piece
    before_s: float = 0.16  # silence kept before the first speech of a piece
    after_s: float = 0.16  # silence kept after the last speech

    @property
    def silence_frames(self) -> int:
        """silence_s in frames, at least one."""
        return max(1, _frame_count(self.silence_s))


AUTO = CutRule()


def find_spans(
    wave: FloatArray,
    longest_samples: int,
    rule: CutRule = AUTO,
    context_samples: int = 0,
    *,
    join: bool = False,
) -> list[Span]:
    """Return the spans of `wave` (samples,) at 16 kHz to decode, in order, each at most `longest_samples`.

    Audio without speech has no span. Unless the first pass returns the wave whole, the detector's second pass
    looks for speech of high voices in it.

    Args:
        rule: the silences to cut at.
        context_samples: see `cut`.
        join: join neighbouring spans, for a base that tolerates silences. A wave with speech that fits is one
            span, and a longer one has as few spans as its silences allow.
    """
    seen, levels = speech_probabilities(wave), frame_levels(wave)
    whole = [Span(0, len(wave))]
    for second_pass in (False, True):
        if second_pass:
            seen = np.maximum(seen, high_voice_probabilities(wave))
        spans = cut(seen, levels, len(wave), longest_samples, rule, context_samples)
        if spans == whole or (join and spans and len(wave) <= longest_samples):
            return whole
    return _joined(spans, longest_samples) if join else spans


def speech_s(wave: FloatArray) -> float:
    """Return how many seconds of `wave` (samples,) at 16 kHz are speech, by the detector's first pass."""
    heard = _heard(speech_probabilities(wave), frame_levels(wave), AUTO)
    return float(heard.sum()) * FRAME_SAMPLES / SAMPLE_RATE


def _joined(spans: Sequence[Span], longest_samples: int) -> list[Span]:
    """Join neighbouring spans, and the silence between them, as long as the result fits."""
    joined: list[Span] = []
    for span in spans:
        last = joined[-1] if joined else None
        if last is not None and not last.after and not span.before:
            both = Span(last.start, span.stop, last.before, span.after)
            if both.before + len(both) + both.after <= longest_samples:
                joined[-1] = both
                continue
        joined.append(span)
    return joined


def cut(
    probabilities: Sequence[float] | FloatArray,
    levels: Sequence[float] | FloatArray,
    samples: int,
    longest_samples: int,
    rule: CutRule = AUTO,
    context_samples: int = 0,
) -> list[Span]:
    """Return spans that together hold every frame of speech once, cut at silences of the rule's length.

    A silence at the start of the audio stays up to the rule's length, and one at its end up to ENDING_FRAMES.
    Speech longer than `longest_samples` without a silence to cut at is cut where it is quietest. There a span
    has up to `context_samples` of its neighbour, at most a quarter of `longest_samples`. The limit
    `longest_samples` includes this context.

    Args:
        probabilities: of speech, one for each FRAME_SAMPLES samples, the last frame possibly partial.
        levels: mean squares of the same frames, see `frame_levels`.

    Raises:
        AudioError: `longest_samples` is less than four frames.
    """
    longest = longest_samples // FRAME_SAMPLES
    if longest < 4:
        raise AudioError(f"pieces of {longest_samples} samples: at least {4 * FRAME_SAMPLES} are needed")
    seen = np.asarray(probabilities, dtype=np.float32)
    quiet = _smoothed(np.asarray(levels, dtype=np.float32))
    context = min(context_samples // FRAME_SAMPLES, longest // 4)
    spans: list[Span] = []
    for start, stop in _padded(_phrases(_heard(seen, levels, rule), rule), len(seen), rule):
        fits = min(stop * FRAME_SAMPLES, samples) - start * FRAME_SAMPLES <= longest_samples
        parts = [(start, stop)] if fits else _parts(quiet, start, stop, longest, context)
        for first, last in parts:
            end = min(last * FRAME_SAMPLES, samples)
            spans.append(
                Span(
                    first * FRAME_SAMPLES,
                    end,
                    before=min(context, first - start) * FRAME_SAMPLES,
                    after=min((last + min(context, stop - last)) * FRAME_SAMPLES, samples) - end,
                )
            )
    return spans


def _heard(seen: FloatArray, levels: Sequence[float] | FloatArray, rule: CutRule) -> npt.NDArray[np.bool_]:
    """Return which frames are speech: those the detector finds, and those above LOUD_SHARE of their power.

    The detector loses some voices in the middle of a word. If it finds no speech at all, no frame is speech.
    """
    speech = seen >= np.float32(rule.speech_probability)
    if not speech.any():
        return speech
    power = np.asarray(levels, dtype=np.float32)
    return speech | (power > LOUD_SHARE * np.percentile(power[speech], 90))


def _phrases(heard: npt.NDArray[np.bool_], rule: CutRule) -> list[tuple[int, int]]:
    """Return the frames [start, stop) of each stretch of speech between two silences of the rule's length."""
    speech = np.flatnonzero(heard)
    if not len(speech):
        return []
    breaks = np.flatnonzero(np.diff(speech) > rule.silence_frames)
    starts, stops = speech[np.r_[0, breaks + 1]], speech[np.r_[breaks, len(speech) - 1]] + 1
    return [(int(start), int(stop)) for start, stop in zip(starts, stops, strict=True)]


def _padded(phrases: Sequence[tuple[int, int]], frames: int, rule: CutRule) -> Iterator[tuple[int, int]]:
    """Yield the phrases with the silence kept around them. Neighbours split a short silence at its middle."""
    before, after = _frame_count(rule.before_s), _frame_count(rule.after_s)
    for index, (start, stop) in enumerate(phrases):
        first, last = index == 0, index == len(phrases) - 1
        room = 0 if first else (phrases[index - 1][1] + start) // 2
        end = frames if last else (stop + phrases[index + 1][0]) // 2
        whole_start = first and start <= max(before, rule.silence_frames)
        whole_end = last and frames - stop <= max(after, ENDING_FRAMES)
        yield (
            0 if whole_start else max(room, start - before),
            frames if whole_end else min(end, stop + after),
        )


def _parts(quiet: FloatArray, start: int, stop: int, longest: int, context: int) -> Iterator[tuple[int, int]]:
    """Yield frames [start, stop) in parts of at most `longest` with context, cut at the quietest frames.

    A cut lies in the second half of the longest part possible, and not so late that a very short part is left
    at the end.
    """
    longest -= 2 * context
    while stop - start > longest:
        first = start + longest // 2
        last = max(first + 1, min(start + longest, stop - longest // 4))
        place = first + int(np.argmin(quiet[first:last]))
        yield start, place
        start = place
    yield start, stop


def _smoothed(levels: FloatArray) -> FloatArray:
    """Return the mean of LEVEL_FRAMES frames around each frame."""
    if len(levels) < LEVEL_FRAMES:
        return levels
    return np.convolve(levels, np.full(LEVEL_FRAMES, 1 / LEVEL_FRAMES, np.float32), mode="same")


def _frame_count(duration_s: float) -> int:
    return round(duration_s * SAMPLE_RATE / FRAME_SAMPLES)
