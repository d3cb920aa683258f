"""Transcription of waves: the one decode path of the command line, the server and evaluation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from ssvd_asr.base.model import BaseModel
from ssvd_asr.base.prompt import IDENTIFIED, Prompt
from ssvd_asr.base.window import Clock, FloatArray
from ssvd_asr.decoding.align import Alignment, TimedWord, align, with_gaps
from ssvd_asr.decoding.attention_align import align_by_attention
from ssvd_asr.decoding.batch import Domains
from ssvd_asr.decoding.best_path import blank_of
from ssvd_asr.decoding.decode import decode
from ssvd_asr.decoding.hypothesis import Hypothesis, Said, TimedText
from ssvd_asr.decoding.language import identify
from ssvd_asr.decoding.options import DEFAULT, DecodingOptions
from ssvd_asr.decoding.seam import CtcFrames, ctc_frames
from ssvd_asr.errors import SsvdError

if TYPE_CHECKING:
    from ssvd_asr.adapted_model import AdaptedModel
    from ssvd_asr.mixing.core_stack import CoreStack


@dataclass(frozen=True)
class Transcript:
    """The text of one wave, and the hypothesis that it comes from.

    Attributes:
        search: `greedy`, `beam` or `ctc`: the search that found the words.
        doubt_nats: by how much CTC's best path is more probable than the words (natural log), 0 where both
            agree; None where CTC cannot tell, for translations and for words with the base's own times.
        words: with times by forced alignment, if these were requested; else empty.
        warnings: sentences on what is missing or doubtful.
        language: the token of its prompt, which the base identified if the prompt asked for that.
        said: how probable the words are; None where the base's own times are among them.
        frames: of encoder output, the padding of the window included.
        prompt_tokens: that the decoder read before the first of its own.
        ctc: what the CTC head heard, if this was requested and there is one.
    """

    text: str
    hypothesis: Hypothesis
    search: str
    doubt_nats: float | None
    words: tuple[TimedWord, ...] = ()
    warnings: tuple[str, ...] = ()
    language: str = "<eng>"
    said: Said | None = None
    frames: int = 0
    prompt_tokens: int = 0
    ctc: CtcFrames | None = None

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
    options: DecodingOptions = DEFAULT,
    word_times: bool | Sequence[bool] = False,
    overlaps: Sequence[bool] = (),
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
        options: the search; by default greedy, and beam search with CTC for rows that CTC doubts, or the
            best path for a base without a decoder.
        word_times: whether to align the words (decoding/align.py), of all waves or of each. Changes no word.
        overlaps: whether each wave is a piece that overlaps others: then `Transcript.ctc` tells what CTC
            heard, which `ssvd_asr.decoding.overlap` joins them by. Empty means that none is.

    Raises:
        AudioTooLongError: a wave is longer than the window; cut it first (ssvd_asr.audio.segment).
        AudioError: no waves, or one with several channels.
        AdapterError: a core that fits no layer, or a slot that the stack does not have.
        SsvdError: an unknown language or task; both cores and a stack, or one of them without an adapted
            model; a stack without a slot for each wave; an adapted model of another base; an option out of
            its range, a search that the base cannot do, or CTC with times.
    """
    if adapted is not None and adapted.model is not base.network:
        raise SsvdError(
            f"the adapted model is not the network of base {base.name!r}: its cores would do nothing"
        )
    if prompts is None:
        prompts = [Prompt(language, task, timestamps)] * len(waves)
    options = options.of(base)
    options.check(prompts)

    def domains(chosen: Sequence[int]) -> AbstractContextManager[object]:
        """The domains of some of the waves."""
        slots = None if rows is None else [rows[row] for row in chosen]
        return _domains(adapted, _of(cores, chosen), stack, slots, len(chosen))

    if stack is not None and rows is not None and len(rows) != len(waves):
        raise SsvdError(f"{len(rows)} slots for {len(waves)} waves: need one for each")
    with domains(range(len(waves))):
        encoded = base.encode(waves, prompts)
    prompts = _with_languages(base, encoded, prompts, domains)
    found = decode(base, encoded, prompts, options, domains, max_tokens, waves)
    said = [each.hypothesis for each in found]
    aligned = _align(base, waves, encoded, prompts, said, word_times, domains)
    ctc = _ctc(base, waves, encoded, overlaps or [False] * len(waves))
    return [
        Transcript(
            each.hypothesis.text, each.hypothesis, each.search, each.doubt_nats,
            alignment.words, (*each.warnings, *alignment.warnings), prompt.language, each.said,
            encoded.size(1), len(base.tokens.prompt_ids(prompt)), heard,
        )
        for each, prompt, alignment, heard in zip(found, prompts, aligned, ctc, strict=True)
    ]  # fmt: skip


def _with_languages(
    base: BaseModel, encoded: torch.Tensor, prompts: Sequence[Prompt], domains: Domains
) -> Sequence[Prompt]:
    """Return the prompts with a language in place of each IDENTIFIED."""
    asking = [row for row, prompt in enumerate(prompts) if prompt.language == IDENTIFIED]
    if not asking:
        return prompts
    with domains(asking):
        chosen = encoded[torch.tensor(asking, device=encoded.device)]
        identified = identify(base, chosen, [prompts[row].among for row in asking])
    told = dict(zip(asking, identified, strict=True))
    return [replace(prompt, language=told.get(row, prompt.language)) for row, prompt in enumerate(prompts)]


def _of(cores: Mapping[str, torch.Tensor] | None, chosen: Sequence[int]) -> Mapping[str, torch.Tensor] | None:
    """The cores of some of the waves, where each wave has its own."""
    if cores is None:
        return None
    return {name: core if core.ndim < 3 else core[list(chosen)] for name, core in cores.items()}


def _align(
    base: BaseModel,
    waves: Sequence[FloatArray],
    encoded: torch.Tensor,
    prompts: Sequence[Prompt],
    hypotheses: Sequence[Hypothesis],
    word_times: bool | Sequence[bool],
    domains: Domains,
) -> list[Alignment]:
    """Align the hypotheses of those waves whose word times are wanted with encoder output (B, T, d)."""
    wanted = [word_times] * len(waves) if isinstance(word_times, bool) else word_times
    found = [Alignment()] * len(waves)
    rows = [row for row, want in zip(range(len(waves)), wanted, strict=True) if want]
    if not rows:
        return found
    durations_s = [len(waves[row]) / base.window.sample_rate_hz for row in rows]
    clock = base.clock(encoded.size(1))
    said = [hypotheses[row] for row in rows]
    if base.ctc_head is not None:
        heard = (encoded[row] for row in rows)
        aligned = align(base.ctc_head, heard, said, durations_s, base.tokens, clock)
    else:
        with domains(rows):
            told = [prompts[row] for row in rows]
            chosen = encoded[torch.tensor(rows, device=encoded.device)]
            aligned = _by_attention(base, chosen, told, said, durations_s, clock)
    for row, alignment in zip(rows, aligned, strict=True):
        found[row] = replace(alignment, words=with_gaps(alignment.words, base.tokens))
    return found


def _ctc(
    base: BaseModel, waves: Sequence[FloatArray], encoded: torch.Tensor, overlaps: Sequence[bool]
) -> list[CtcFrames | None]:
    """Return what the CTC head hears in those waves that overlap others, of encoder output (B, T, d)."""
    head, clock = base.ctc_head, base.clock(encoded.size(1))
    heard: list[CtcFrames | None] = []
    for wave, row, wanted in zip(waves, encoded, overlaps, strict=True):
        stop = clock.lead_frames + math.ceil(round(len(wave) / base.window.sample_rate_hz / clock.frame_s, 6))
        if wanted and head is not None:
            frames = row[clock.lead_frames : stop]
            heard.append(ctc_frames(head, frames, blank_of(base.tokens), clock.frame_s))
        else:
            heard.append(None)
    return heard


def _by_attention(
    base: BaseModel,
    encoded: torch.Tensor,
    prompts: Sequence[Prompt],
    hypotheses: Sequence[Hypothesis],
    durations_s: Sequence[float],
    clock: Clock,
) -> list[Alignment]:
    """Align the hypotheses with encoder output (B, T, d) by the decoder's attention."""
    words = [base.tokens.words(each.token_ids) for each in hypotheses]
    # Read as words without times and without a previous text, whatever they were found with.
    told = [base.tokens.prompt_ids(replace(each, timestamps=False, previous_text=None)) for each in prompts]
    listening = base.listen(encoded, told, [[index for _, own in row for index in own] for row in words])
    if listening is None:
        why = "no word times: the base has neither a CTC head nor attention that follows the speech"
        return [Alignment(tuple(TimedWord(*word) for word in row), (why,)) for row in words]
    return [
        align_by_attention(row, heard, duration_s, clock)
        for row, heard, duration_s in zip(words, listening, durations_s, strict=True)
    ]


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
