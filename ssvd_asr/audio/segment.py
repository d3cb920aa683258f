"""Cutting of recordings at silences found by Silero VAD, and of speech without silences where it is quietest.

The network is the ONNX file inside the silero-vad package, run by onnxruntime. The package itself is not
imported, because its import sets torch's thread count to 1 for the whole process. The block layout (512 new
samples after 64 old ones, LSTM state carried over) is that of its `sequence_vad.py`.

The network is unsure of high voices: it missed one child's clip in fifty. Unless the first pass keeps the
whole wave as one span, a second one gets the audio slowed down, which lowers the pitch, and at full level.
Slowed noise still does not count as speech.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ssvd_asr.audio.read import SAMPLE_RATE
from ssvd_asr.errors import AudioError

FRAME_SAMPLES = 512  # 32 ms at 16 kHz; one probability each
CONTEXT_SAMPLES = 64
STATE_SIZE = 128
BLOCK_FRAMES = 510  # per call of the network (16.3 s), to bound its memory for any length

ENDING_FRAMES = 31  # 1 s: a silence up to this long at the end of the audio stays
LOUD_SHARE = 0.01  # of speech's power: louder frames count as speech, whatever the detector says
LEVEL_FRAMES = 3  # 96 ms: speech without a silence is cut where the mean over this length is lowest
SLOWDOWNS = ((4, 3), (3, 2))  # (samples out, samples in); each detects voices that the other misses
FULL_LEVEL = 0.9  # peak of the second pass's audio, because quiet high voices are missed too
MAX_GAIN = 30.0  # limit of the gain to FULL_LEVEL, so that noise of a few bits is not raised to it

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


def frame_levels(wave: FloatArray) -> FloatArray:
    """Return the mean square of each frame, (ceil(samples / 512),), of (samples,)."""
    step = BLOCK_FRAMES * FRAME_SAMPLES
    blocks = (_frames(wave[start : start + step]) for start in range(0, len(wave), step))
    return np.concatenate([np.zeros(0, np.float32), *(np.mean(block**2, axis=1) for block in blocks)])


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


def speech_probabilities(wave: FloatArray) -> FloatArray:
    """Return the probability of speech in each 32 ms, (ceil(samples / 512),), of (samples,) at 16 kHz."""
    step = BLOCK_FRAMES * FRAME_SAMPLES
    return _probabilities(wave[start : start + step] for start in range(0, len(wave), step))


def high_voice_probabilities(wave: FloatArray) -> FloatArray:
    """Return the probabilities of the audio played slower, so at a lower pitch, and at full level.

    Each frame has the highest probability of the slowed frames that overlap it, over all SLOWDOWNS.
    """
    frames = np.arange(math.ceil(len(wave) / FRAME_SAMPLES))
    seen = np.zeros(len(frames), dtype=np.float32)
    peak = max(float(wave.max()), -float(wave.min())) if len(wave) else 0.0
    if not peak > 0:
        return seen
    gain = min(FULL_LEVEL / peak, MAX_GAIN)
    for longer, shorter in SLOWDOWNS:
        slowed = _probabilities(_slowed_blocks(wave, gain, longer, shorter))
        first = frames * longer // shorter  # at these ratios two slowed frames overlap a frame
        last = np.minimum(first + 1, len(slowed) - 1)
        seen = np.maximum(seen, np.maximum(slowed[first], slowed[last]))
    return seen


def _slowed_blocks(wave: FloatArray, gain: float, longer: int, shorter: int) -> Iterator[FloatArray]:
    """Yield `wave` times `gain` in blocks of BLOCK_FRAMES frames.

    Linear interpolation makes `longer` samples of every `shorter` ones.
    """
    step = BLOCK_FRAMES * FRAME_SAMPLES * shorter // longer
    for start in range(0, len(wave), step):
        block = wave[start : start + step + 1]  # one sample of the next block to interpolate to
        count = math.ceil(min(step, len(wave) - start) * longer / shorter)
        slowed = np.interp(np.arange(count) * (shorter / longer), np.arange(len(block)), block)
        yield (slowed * gain).astype(np.float32)


def _probabilities(blocks: Iterable[FloatArray]) -> FloatArray:
    """Run the network over blocks, carrying its state over, and return one probability per frame.

    Only the last block may end in a partial frame.
    """
    session = _session()
    hidden = cell = np.zeros((1, 1, STATE_SIZE), dtype=np.float32)
    context = np.zeros(CONTEXT_SAMPLES, dtype=np.float32)
    out = [np.zeros(0, dtype=np.float32)]
    for samples in blocks:
        block = _frames(samples)
        contexts = np.concatenate([context[None], block[:-1, -CONTEXT_SAMPLES:]])
        context = block[-1, -CONTEXT_SAMPLES:]
        values, hidden, cell = session.run(
            ["speech_probs", "hn", "cn"],
            {"input": np.concatenate([contexts, block], axis=1), "h": hidden, "c": cell},
        )
        out.append(values.reshape(-1))
    return np.concatenate(out)


def _frames(samples: FloatArray) -> FloatArray:
    """Split (n,) into frames (ceil(n / 512), 512), the last one padded with zeros."""
    count = math.ceil(len(samples) / FRAME_SAMPLES)
    frames = np.zeros(count * FRAME_SAMPLES, dtype=np.float32)
    frames[: len(samples)] = samples
    return frames.reshape(count, FRAME_SAMPLES)


@cache
def _session() -> Any:
    """Return this process's onnxruntime.InferenceSession. Several threads may call its `run`.

    Side effect: sets ORT_DISABLE_TELEMETRY unless it is set. onnxruntime otherwise gives the machine an
    identifier and sends events to its maker.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime  # type: ignore[import-untyped]  # the package has no stubs

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # 4 ms a second of audio on one core
    options.log_severity_level = 3  # errors; the GPU build warns at every start on a machine without a GPU
    return onnxruntime.InferenceSession(str(_network()), options, providers=["CPUExecutionProvider"])


def _network() -> Path:
    spec = find_spec("silero_vad")  # does not import it
    if spec is None or spec.origin is None:
        raise AudioError(
            "the silero-vad package is not installed: audio cannot be cut at silences; pip install silero-vad"
        )
    return Path(spec.origin).parent / "data" / "silero_vad_16k_sequence.onnx"
