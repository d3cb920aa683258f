"""Resampler of blocks of one channel to 16 kHz."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# soxr instead of torchaudio's resample: it works block by block, so a decompression bomb is never held whole,
# and at any ratio. It does not import torch, which takes 3 s.
import soxr

SAMPLE_RATE = 16_000  # Hz; the input rate of every OWSM

FloatArray = npt.NDArray[np.float32]


class Resampler:
    """Resampler of blocks at any rate to one 16 kHz array."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._frames = 0
        self._blocks: list[FloatArray] = []
        self._stream = None if rate_hz == SAMPLE_RATE else soxr.ResampleStream(rate_hz, SAMPLE_RATE, 1)

    def add(self, mono: FloatArray) -> None:
        """Add (frames,) at the source's rate."""
        self._frames += len(mono)
        self._blocks.append(self._convert(mono, last=False))

    def finish(self) -> FloatArray:
        """Return (samples,) at 16 kHz, at least one."""
        self._blocks.append(self._convert(np.empty(0, np.float32), last=True))
        wave = np.concatenate(self._blocks)
        self._blocks.clear()
        # soxr may end a sample early or late, but times are derived from a length of 16000 * seconds.
        length = max(1, round(self._frames * SAMPLE_RATE / self._rate_hz))
        if len(wave) < length:
            wave = np.pad(wave, (0, length - len(wave)))
        return wave[:length]

    def _convert(self, mono: FloatArray, *, last: bool) -> FloatArray:
        if self._stream is None:
            return mono.copy()  # the decoder may reuse its buffer
        out: FloatArray = self._stream.resample_chunk(np.ascontiguousarray(mono), last=last)
        return out
