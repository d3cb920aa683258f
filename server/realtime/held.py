"""Audio of an open turn whose client commits it, in however small events it comes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ssvd_asr.audio.read import SAMPLE_RATE

FloatArray = npt.NDArray[np.float32]


class HeldAudio:
    """Samples in one array that grows, so that memory follows the audio and not the number of events."""

    def __init__(self) -> None:
        self._samples = np.zeros(SAMPLE_RATE, np.float32)
        self._count = 0

    def __len__(self) -> int:
        """Return how many samples are held."""
        return self._count

    @property
    def wave(self) -> FloatArray:
        """The samples (n,), a copy."""
        return self._samples[: self._count].copy()

    def add(self, wave: FloatArray) -> None:
        """Add samples (n,)."""
        needed = self._count + len(wave)
        if needed > len(self._samples):
            grown = np.zeros(max(needed, 2 * len(self._samples)), np.float32)
            grown[: self._count] = self._samples[: self._count]
            self._samples = grown
        self._samples[self._count : needed] = wave
        self._count = needed
