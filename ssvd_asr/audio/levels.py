"""Levels of a recording: too high, clipping, too low, and an offset (DC), all of them mended or told."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

# Full scale is 1.  A lossy codec or a float recorder exceeds it a little.
MAX_PEAK = 1.5  # of samples that are read as they are; higher ones are scaled
CLIPPED_LEVEL = 0.999  # samples from here on count as clipped
CLIPPED_SHARE = 0.001  # of all samples; more are told
OFFSET_SHARE = 0.1  # of the sound's root mean square; a greater offset is removed
MIN_OFFSET = 0.001  # of full scale
# A peak between these is told: words change from the first on, and below the second there is only silence.
QUIET_PEAK, SILENT_PEAK = 0.01, 0.0002


class Levels:
    """Counts the levels of the samples that become one wave, then mends the wave."""

    def __init__(self) -> None:
        self._peak = 0.0
        self._clipped = 0
        self._samples = 0

    def add(self, frames: FloatArray) -> None:
        """Count (frames, channels)."""
        level = np.abs(frames)
        self._peak = max(self._peak, float(level.max(initial=0.0)))
        self._clipped += int(np.count_nonzero(level >= CLIPPED_LEVEL))
        self._samples += frames.size

    def mended(self, wave: FloatArray) -> tuple[FloatArray, tuple[str, ...]]:
        """Return the wave (samples,) without its offset and within full scale, and sentences on both."""
        warnings = []
        offset = float(wave.mean(dtype=np.float64))
        sound = (
            max(0.0, float(np.dot(wave, wave)) / len(wave) - offset**2) ** 0.5
        )  # std() would copy in float64
        if abs(offset) > max(MIN_OFFSET, OFFSET_SHARE * sound):
            wave = wave - np.float32(offset)
            warnings.append(f"The samples have an offset of {offset:+.3f} of full scale, which was removed")
        if self._peak > MAX_PEAK:
            wave = wave / np.float32(self._peak)
            warnings.append(
                f"The samples reach {self._peak:.2f} times full scale and were divided by that; "
                "float samples lie between -1 and 1"
            )
        elif self._clipped > CLIPPED_SHARE * self._samples:
            share = 100 * self._clipped / self._samples
            warnings.append(f"The recording is clipped: {share:.1f} % of its samples are at full scale")
        else:
            peak = max(float(wave.max()), -float(wave.min()))
            if SILENT_PEAK <= peak < QUIET_PEAK:
                below = -20 * math.log10(peak)
                warnings.append(
                    f"The recording is very quiet: its loudest sample is {below:.0f} dB below full scale"
                )
        return wave, tuple(warnings)
