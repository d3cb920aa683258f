"""Waves to words: the one decode path under the command line, the server and evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ssvd_asr.base.model import BaseModel, FloatArray
from ssvd_asr.decoding.greedy import greedy
from ssvd_asr.decoding.hypothesis import Hypothesis, TimedText
from ssvd_asr.decoding.prompt import Prompt
from ssvd_asr.errors import SsvdError

if TYPE_CHECKING:
    from ssvd_asr.adapted_model import AdaptedModel


@dataclass(frozen=True)
class Transcript:
    """The words of one wave, and how they were found."""

    text: str
    hypothesis: Hypothesis

    @property
    def segments(self) -> tuple[TimedText, ...]:
        """Stretches with times, where times were asked for."""
        return self.hypothesis.segments


@torch.no_grad()
def transcribe(
    base: BaseModel,
    waves: Sequence[FloatArray],
    *,
    adapted: AdaptedModel | None = None,
    cores: Mapping[str, torch.Tensor] | None = None,
    language: str = "<eng>",
    task: str = "<asr>",
    timestamps: bool = False,
    prompts: Sequence[Prompt] | None = None,
    max_tokens: int | None = None,
) -> list[Transcript]:
    """Transcribe waves, each (samples,) float32 at 16 kHz and within the window, as one batch.

    Args:
        adapted: `adapt(base.network, ...)`; needed for cores.
        cores: by layer name, (k, k) for all waves or (B, k, k) with one a wave. None is the base.
        language, task, timestamps: the same for all waves ...
        prompts: ... or one prompt a wave, in their place.
        max_tokens: where to cut a transcript that does not end; by default the number of encoder frames.

    Raises:
        AudioTooLongError: a wave is longer than the window; cut it first (ssvd_asr.segment).
        AudioError: no waves, or one with several channels.
        AdapterError: a core that fits no layer.
        SsvdError: an unknown language or task, or cores without the model that takes them.
    """
    if cores is not None and adapted is None:
        raise SsvdError("cores were given without the adapted model that takes them")
    if adapted is not None and adapted.model is not base.network:
        raise SsvdError(
            f"the adapted model is not the network of base {base.name!r}: its cores would do nothing"
        )
    if prompts is None:
        prompts = [Prompt(language, task, timestamps)] * len(waves)
    with adapted.using(cores) if adapted is not None else nullcontext():
        found = greedy(base, base.encode(waves), prompts, max_tokens)
    return [Transcript(hypothesis.text, hypothesis) for hypothesis in found]
