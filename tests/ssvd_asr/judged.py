"""A base and its export, so that ESPnet's own Speech2Text can say what it hears in the same waves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adapters_store.packaged import PACKAGED
from ssvd_asr.audio.read import read_audio
from ssvd_asr.base.load import load_base
from ssvd_asr.base.model import BaseModel
from ssvd_asr.base.owsm.export import export_espnet
from ssvd_asr.base.owsm.hub_layout import EMBEDDED
from tests.random_owsm import TINY, TINY_OWLS, waves, write_random_owsm

# Smaller than this, and rounding may have chosen: the cached decoder sums in another order.
SAFE_MARGIN = 1e-4


@dataclass(frozen=True)
class Judged:
    """config and checkpoint are what Speech2Text takes."""

    base: BaseModel
    config: Path
    checkpoint: Path
    audio: Sequence[np.ndarray]


def make(name: str, folder: Path) -> Judged:
    """ebranchformer or owls (tiny, random), or owsm-nano."""
    if name == EMBEDDED:
        base, audio = load_base(name, device="cpu"), _spoken(4)
    else:
        shape = {"ebranchformer": TINY, "owls": TINY_OWLS}[name]
        base = load_base(write_random_owsm(folder / "hub", shape, seed=2), device="cpu")
        audio = waves(4, shape)
    config, checkpoint = export_espnet(base, folder / "exported")
    return Judged(base, config, checkpoint, audio)


def _spoken(count: int) -> list[np.ndarray]:
    """Clips that ship with a domain; the base hears speech in them, if not every word."""
    clips = sorted((PACKAGED / "scottish" / "samples").glob("*-test-*.opus"))[:count]
    return [read_audio(clip) for clip in clips]
