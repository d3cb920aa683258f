"""Speech detector: the probability of speech in each 32 ms of a wave, by Silero VAD, and its level.

The network is the ONNX file inside the silero-vad package, run by onnxruntime. The package itself is not
imported, because its import sets torch's thread count to 1 for the whole process. The block layout (512 new
samples after 64 old ones, LSTM state carried over) is that of its `sequence_vad.py`.

The network is unsure of high voices: it missed one child's clip in fifty. `high_voice_probabilities` gives it
the audio slowed down, which lowers the pitch, and at full level. Slowed noise still does not count as speech.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
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
SLOWDOWNS = ((4, 3), (3, 2))  # (samples out, samples in); each detects voices that the other misses
FULL_LEVEL = 0.9  # peak of the second pass's audio, because quiet high voices are missed too
MAX_GAIN = 30.0  # limit of the gain to FULL_LEVEL, so that noise of a few bits is not raised to it

FloatArray = npt.NDArray[np.float32]


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


def frame_levels(wave: FloatArray) -> FloatArray:
    """Return the mean square of each frame, (ceil(samples / 512),), of (samples,)."""
    step = BLOCK_FRAMES * FRAME_SAMPLES
    blocks = (_frames(wave[start : start + step]) for start in range(0, len(wave), step))
    return np.concatenate([np.zeros(0, np.float32), *(np.mean(block**2, axis=1) for block in blocks)])


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
    """Return one probability per frame of the blocks. Only the last block may end in a partial frame."""
    detector = SpeechDetector()
    return np.concatenate([np.zeros(0, dtype=np.float32), *(detector.hear(samples) for samples in blocks)])


class SpeechDetector:
    """The network with its state, over audio that comes in blocks."""

    def __init__(self) -> None:
        self._session = _session()
        self._hidden = self._cell = np.zeros((1, 1, STATE_SIZE), dtype=np.float32)
        self._context = np.zeros(CONTEXT_SAMPLES, dtype=np.float32)

    def hear(self, samples: FloatArray) -> FloatArray:
        """Return the probability of speech in each frame of the next samples: (ceil(n / 512),) of (n,).

        A partial frame is padded with zeros, so only the last block of a wave may end in one.
        """
        if not len(samples):
            return np.zeros(0, dtype=np.float32)
        block = _frames(samples)
        contexts = np.concatenate([self._context[None], block[:-1, -CONTEXT_SAMPLES:]])
        self._context = block[-1, -CONTEXT_SAMPLES:]
        values, self._hidden, self._cell = self._session.run(
            ["speech_probs", "hn", "cn"],
            {"input": np.concatenate([contexts, block], axis=1), "h": self._hidden, "c": self._cell},
        )
        found: FloatArray = values.reshape(-1)
        return found


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
