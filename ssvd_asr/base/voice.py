"""Voice points: what half of the base's encoder makes of an utterance, as one short vector.

A point is the mean over time of the encoder's middle layer, where voices and accents are told apart best
(docs/results/any-voice.md). Wide layers are projected to WIDTH numbers by fixed random signs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch

from ssvd_asr.base.window import FloatArray, Window

if TYPE_CHECKING:
    from torch import Tensor

WIDTH = 128  # numbers of a point
HEARD_S = 8.0  # of an utterance, from its beginning
SHORTEST_S = 0.5  # shorter ones are padded with silence: convolutions need some frames


def heard(wave: FloatArray, window: Window) -> Tensor:
    """Return the part of a wave (samples,) that makes its point, as (1, samples) float32."""
    rate = window.sample_rate_hz
    part = torch.from_numpy(np.asarray(wave[: int(rate * min(HEARD_S, window.duration_s))], dtype=np.float32))
    missing = int(rate * SHORTEST_S) - len(part)
    return torch.nn.functional.pad(part, (0, max(0, missing))).unsqueeze(0)


def point(frames: Tensor) -> Tensor:
    """Return the point (WIDTH or fewer,) float32 of a middle layer's output (frames, d)."""
    mean = frames.float().mean(dim=0)
    if len(mean) <= WIDTH:
        return mean
    return mean @ _signs(len(mean)).to(mean.device)


def points(made: Sequence[Tensor]) -> Tensor:
    """Return points as one tensor (utterances, WIDTH or fewer) on the host."""
    return torch.stack(list(made)).cpu()


@lru_cache(maxsize=4)
def _signs(width: int) -> Tensor:
    """Return the projection (width, WIDTH): signs from a hash, the same whatever the libraries' versions."""
    packed = hashlib.shake_256(b"ssvd-asr voice signs").digest(-(-width * WIDTH // 8))
    bits = np.unpackbits(np.frombuffer(packed, dtype=np.uint8), count=width * WIDTH)
    return torch.from_numpy((bits.reshape(width, WIDTH) * 2.0 - 1.0) / np.sqrt(width)).float()
