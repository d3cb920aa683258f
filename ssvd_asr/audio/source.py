"""An opened audio file, as every decoder gives it: a rate, a channel count, and blocks of bounded size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt

BLOCK_SAMPLES = 2**17  # frames x channels decoded at a time: half a MiB of float32

FloatArray = npt.NDArray[np.float32]


class AudioSource(Protocol):
    """An opened file.  blocks() may be called once."""

    name: str
    rate_hz: int
    channels: int
    end_frame: int  # after the last block: the number of frames in the file

    def blocks(self, start_frame: int) -> Iterator[FloatArray]:
        """(frames, channels) float32 from start_frame on; nothing where the audio ends before it."""
        ...
