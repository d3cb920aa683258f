"""Transcription of waves: the one decode path of the command line, the server and evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ssvd_asr.base.model import BaseModel, FloatArray
from ssvd_asr.base.prompt import Prompt
from ssvd_asr.decoding.align import Alignment, TimedWord, align, clock_of
from ssvd_asr.decoding.beam import beam, check_options
from ssvd_asr.decoding.greedy import greedy
from ssvd_asr.decoding.hypothesis import Hypothesis, TimedText
from ssvd_asr.errors import SsvdError

if TYPE_CHECKING:
    from ssvd_asr.adapted_model import AdaptedModel
    from ssvd_asr.mixing.core_stack import CoreStack


@dataclass(frozen=True)
class Transcript:
    """The text of one wave, and the hypothesis that it comes from.

    words: with times by forced alignment, where these were asked for; else empty.
    warnings: what the caller has to know about them, as sentences.
    """

    text: str
    hypothesis: Hypothesis
    words: tuple[TimedWord, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def segments(self) -> tuple[TimedText, ...]:
        """Pieces of text with the base's own times, if its prompt asked for them."""
        return self.hypothesis.segments


@torch.no_grad()
def transcribe(
    base: BaseModel,
    waves: Sequence[FloatArray],
    *,
    adapted: AdaptedModel | None = None,
    cores: Mapping[str, torch.Tensor] | None = None,
    stack: CoreStack | None = None,
    rows: Sequence[int] | None = None,
    language: str = "<eng>",
    task: str = "<asr>",
    timestamps: bool = False,
    prompts: Sequence[Prompt] | None = None,
    max_tokens: int | None = None,
    beam_size: int = 1,
    ctc_weight: float = 0.0,
    word_times: bool | Sequence[bool] = False,
) -> list[Transcript]:
    """Transcribe waves, each (samples,) float32 at 16 kHz and within the window, as one batch.

    Args:
        adapted: `adapt(base.network, ...)`; needed for cores and for a stack.
        cores: by layer name, (k, k) for all waves or (B, k, k) with one per wave. None is the base.
        stack, rows: in place of cores, the domain of each wave as a slot of the stack; slot 0 is the base.
        language, task, timestamps: the prompt for all waves; unused where `prompts` are given. `timestamps`
            asks for the base's own time tokens, which may change the words.
        prompts: one prompt per wave.
        max_tokens: limit on the tokens of a transcript; default the number of encoder frames.
        beam_size: hypotheses followed for each wave, at most decoding.beam.MAX_BEAM_SIZE.
        ctc_weight: weight of CTC in the scores. 0 with beam_size 1 is greedy decoding.
        word_times: whether to align the words (decoding/align.py), of all waves or of each. Changes no word.

    Raises:
        AudioTooLongError: a wave is longer than the window; cut it first (ssvd_asr.audio.segment).
        AudioError: no waves, or one with several channels.
        AdapterError: a core that fits no layer, or a slot that the stack does not have.
        SsvdError: an unknown language or task; both cores and a stack, or one of them without an adapted
            model; a stack without a slot for each wave; an adapted model of another base; a beam_size or
            ctc_weight out of range, or CTC with times.
    """
    if adapted is not None and adapted.model is not base.network:
        raise SsvdError(
            f"the adapted model is not the network of base {base.name!r}: its cores would do nothing"
        )
    if prompts is None:
        prompts = [Prompt(language, task, timestamps)] * len(waves)
    check_options(beam_size, ctc_weight, prompts)
    with _domains(adapted, cores, stack, rows, len(waves)):
        encoded = base.encode(waves)
        if beam_size == 1 and ctc_weight == 0:
            found = greedy(base, encoded, prompts, max_tokens)
        else:
            found = beam(
                base, encoded, prompts, beam_size=beam_size, ctc_weight=ctc_weight, max_tokens=max_tokens
            )
        aligned = _align(base, waves, encoded, found, word_times)
    return [
        Transcript(hypothesis.text, hypothesis, alignment.words, alignment.warnings)
        for hypothesis, alignment in zip(found, aligned, strict=True)
    ]


def _align(
    base: BaseModel,
    waves: Sequence[FloatArray],
    encoded: torch.Tensor,
    hypotheses: Sequence[Hypothesis],
    word_times: bool | Sequence[bool],
) -> list[Alignment]:
    """Align the hypotheses of those waves whose word times are wanted with encoder output (B, T, d)."""
    wanted = [word_times] * len(waves) if isinstance(word_times, bool) else word_times
    found = [Alignment()] * len(waves)
    rows = [row for row, want in zip(range(len(waves)), wanted, strict=True) if want]
    durations_s = [len(waves[row]) / base.config.sample_rate_hz for row in rows]
    clock = clock_of(base, encoded.size(1))
    heard = (encoded[row] for row in rows)
    said = [hypotheses[row] for row in rows]
    for row, alignment in zip(
        rows, align(base.network.ctc, heard, said, durations_s, base.tokens, clock), strict=True
    ):
        found[row] = alignment
    return found


def _domains(
    adapted: AdaptedModel | None,
    cores: Mapping[str, torch.Tensor] | None,
    stack: CoreStack | None,
    rows: Sequence[int] | None,
    waves: int,
) -> AbstractContextManager[object]:
    """Return the context in which the model runs with these domains.

    Raises SsvdError for arguments that are incomplete or exclude each other.
    """
    if cores is not None and stack is not None:
        raise SsvdError("both cores and a stack were given: one way at a time to say the domains")
    if (stack is None) != (rows is None):
        raise SsvdError("a stack and the rows' slots in it go together: one of them was not given")
    if adapted is None:
        if cores is not None or stack is not None:
            given = "cores were" if cores is not None else "a stack was"
            raise SsvdError(f"{given} given without the adapted model that takes them")
        return nullcontext()
    if stack is None or rows is None:
        return adapted.using(cores)
    if len(rows) != waves:
        raise SsvdError(f"{len(rows)} slots for {waves} waves: need one for each")
    return adapted.mixing(stack, rows)
