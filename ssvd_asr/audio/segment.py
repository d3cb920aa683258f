"""Cutter of speech that is longer than the model's window, at silences found by Silero VAD.

The network is the ONNX file inside the silero-vad package, run by onnxruntime.  The package itself is
not imported, because its import sets torch's thread count to 1 for the whole process.  The block layout
(512 new samples after 64 old ones, LSTM state carried over) is that of its `sequence_vad.py`.

The network is unsure of high voices: it missed one child's clip in fifty.  Played slower, children sound like
adults.  Where the first pass is not enough, a second one gets the audio slowed down and at full level.  Noise
stays noise at any speed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ssvd_asr.errors import AudioError

FRAME_SAMPLES = 512  # 32 ms at 16 kHz; one probability each
CONTEXT_SAMPLES = 64
STATE_SIZE = 128
BLOCK_FRAMES = 510  # per call of the network (16.3 s), to bound its memory for any length

SPEECH_PROBABILITY = 0.3  # below Silero's own 0.5: losing a word costs more than decoding a breath
MARGIN_FRAMES = 7  # 0.22 s kept before the first and after the last word of a span
SLOWDOWNS = ((4, 3), (3, 2))  # (samples out, samples in); each finds voices that the other misses
FULL_LEVEL = 0.9  # peak of the second pass's audio, because quiet high voices are missed too
MAX_GAIN = 30.0  # reached at a peak of 0.03; below that, noise of a few bits must stay noise

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Span:
    """Span [start, stop) of audio, in samples at 16 kHz."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


def find_spans(wave: FloatArray, window_samples: int) -> list[Span]:
    """Return the spans of `wave` (samples,) at 16 kHz to decode.

    They are in order, disjoint, and at most `window_samples` long.  Audio without speech has no span, and
    audio that fits is one span.  Longer audio is cut at silences (see `cut`).
    """
    seen = speech_probabilities(wave)
    if len(wave) > window_samples or not (seen >= SPEECH_PROBABILITY).any():
        seen = np.maximum(seen, high_voice_probabilities(wave))
    return cut(seen, len(wave), window_samples)


def cut(probabilities: Sequence[float] | FloatArray, samples: int, window_samples: int) -> list[Span]:
    """Cut audio into spans of at most one window that together hold every frame of speech.

    A span that must end before the speech does ends in the middle of the longest silence in the second half
    of the window (the later one of equals).  Without a silence there, it ends at the frame least likely to be
    speech.  Silence between spans is left out.

    Args:
        probabilities: of speech, one for each FRAME_SAMPLES samples; the last frame may be partial.

    Raises:
        AudioError: the window is shorter than two frames.
    """
    if window_samples < 2 * FRAME_SAMPLES:
        raise AudioError(f"a window of {window_samples} samples: at least {2 * FRAME_SAMPLES} are needed")
    frames = np.asarray(probabilities, dtype=np.float32)
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


def speech_probabilities(wave: FloatArray) -> FloatArray:
    """Return the probability of speech in each 32 ms, (ceil(samples / 512),), of (samples,) at 16 kHz."""
    step = BLOCK_FRAMES * FRAME_SAMPLES
    return _probabilities(wave[start : start + step] for start in range(0, len(wave), step))


def high_voice_probabilities(wave: FloatArray) -> FloatArray:
    """Return the same for the audio played slower, so at a lower pitch, and at full level.

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
    """Run the network over blocks, carrying its state over, and return one probability a frame.

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


def _place_to_cut(frames: FloatArray, start: int, window_samples: int) -> int:
    """Return the sample to cut at, in (start + window/2, start + window] and inside the audio."""
    first = math.ceil((start + window_samples // 2) / FRAME_SAMPLES)
    stop = (start + window_samples) // FRAME_SAMPLES  # exclusive: frames that end within the window
    first = min(first, stop - 1)
    silent = frames[first:stop] < SPEECH_PROBABILITY
    run_start, run_length = _longest_run(silent)
    if run_length:
        return (first + run_start) * FRAME_SAMPLES + run_length * FRAME_SAMPLES // 2
    return (first + int(np.argmin(frames[first:stop]))) * FRAME_SAMPLES + FRAME_SAMPLES // 2


def _longest_run(flags: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """Return (start, length) of the longest run of True, the later of equals; length 0 if there is none."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    starts, lengths = edges[::2], edges[1::2] - edges[::2]
    if not len(lengths):
        return 0, 0
    best = len(lengths) - 1 - int(np.argmax(lengths[::-1]))
    return int(starts[best]), int(lengths[best])


def _frames(samples: FloatArray) -> FloatArray:
    """Split (n,) into frames (ceil(n / 512), 512), the last one filled up with zeros."""
    count = math.ceil(len(samples) / FRAME_SAMPLES)
    frames = np.zeros(count * FRAME_SAMPLES, dtype=np.float32)
    frames[: len(samples)] = samples
    return frames.reshape(count, FRAME_SAMPLES)


@cache
def _session() -> Any:
    """Return this process's onnxruntime.InferenceSession. Several threads may call its `run`."""
    import onnxruntime  # type: ignore[import-untyped]  # the package has no stubs

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # 4 ms a second of audio on one core
    options.log_severity_level = 3  # errors; the GPU build warns at every start on a machine without a GPU
    return onnxruntime.InferenceSession(str(_network()), options, providers=["CPUExecutionProvider"])


def _network() -> Path:
    spec = find_spec("silero_vad")  # does not import it
    if spec is None or spec.origin is None:
        raise AudioError("the silero-vad package is not installed: audio cannot be cut at silences")
    return Path(spec.origin).parent / "data" / "silero_vad_16k_sequence.onnx"
