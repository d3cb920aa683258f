"""Interface of an opened audio file: a rate, a channel count, and blocks of bounded size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt

BLOCK_SAMPLES = 2**17  # frames x channels decoded at a time: half a MiB of float32

FloatArray = npt.NDArray[np.float32]


class AudioSource(Protocol):
    """Opened audio file, whatever the decoder. blocks() may be called once."""

    name: str
    rate_hz: int
    channels: int
    warnings: tuple[str, ...]  # sentences on what of the file is read
    end_frame: int  # after the last block: the number of frames in the file

    def blocks(self, start_frame: int) -> Iterator[FloatArray]:
        """Yield (frames, channels) float32 from start_frame on; nothing if the audio ends before it."""
        ...
