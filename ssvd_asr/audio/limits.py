"""Limits on the cost of reading one piece of audio, for every path that reads audio."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class AudioLimits:
    """Limits of one call of `read_audio`. Errors name the field to change."""

    max_duration_s: float = 1800.0  # of the audio returned
    max_bytes: int = 100 * 2**20  # encoded: the file, the upload
    max_channels: int = 8
    min_source_rate_hz: int = 4_000
    max_source_rate_hz: int = 384_000
    # The operating system holds the FFmpeg child process (m4a, webm, ...) to these.
    max_decoder_bytes: int = 512 * 2**20  # address space; the libraries take 150 MiB of it
    max_decoder_cpu_s: int = 60

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name}={value}: must be a positive number")


DEFAULT_LIMITS = AudioLimits()
