"""Summary of the voices in a manifest, as the base hears them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from ssvd_asr.adapter.voices import FEWEST_UTTERANCES, MOST_UTTERANCES, VoiceSummary
from ssvd_asr.audio.read import AudioLimits, FloatArray
from ssvd_asr.errors import AudioError
from ssvd_asr.manifests.audio import read_utterance
from ssvd_asr.manifests.read import read_entries
from ssvd_asr.manifests.utterances import Utterance
from training.corpus.dataset import MAX_FILE_BYTES

if TYPE_CHECKING:
    from ssvd_asr.base.model import BaseModel


def voice_summary(base: BaseModel, source: Path) -> VoiceSummary | None:
    """Return the summary of the first MOST_UTTERANCES that can be read, or None if they are too few.

    Call it where no domain is open. Raises DataError for a source that is no manifest, AdapterError where the
    utterances are all the same.
    """
    import torch

    points = [base.voice_points([wave]) for wave in islice(_waves(base, source), MOST_UTTERANCES)]
    if len(points) < FEWEST_UTTERANCES:
        return None
    return VoiceSummary.of(base.voice_probe, torch.cat(points).double().numpy())


def _waves(base: BaseModel, source: Path) -> Iterator[FloatArray]:
    limits = AudioLimits(max_duration_s=base.window.duration_s, max_bytes=MAX_FILE_BYTES)
    for entry in read_entries(source):
        if not isinstance(entry, Utterance):
            continue
        try:
            yield read_utterance(entry, limits)
        except AudioError:
            continue  # the data report names it, and a summary needs only many
