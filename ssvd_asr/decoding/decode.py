"""Decoding of a batch with the search of its options, and doubt about each row, CTC's where there is CTC."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from ssvd_asr.base.model import BaseModel
from ssvd_asr.base.prompt import RECOGNITION, Prompt
from ssvd_asr.decoding.beam import beam
from ssvd_asr.decoding.best_path import best_path
from ssvd_asr.decoding.ctc_judge import CtcJudge
from ssvd_asr.decoding.fallback import (
    SILENT,
    WARNING,
    WITHOUT_KEYWORDS,
    better,
    is_doubtful,
    is_silence,
    loops,
)
from ssvd_asr.decoding.greedy import greedy
from ssvd_asr.decoding.hypothesis import Hypothesis, Said
from ssvd_asr.decoding.options import DecodingOptions

# Returns a context in which the domains of these rows of the batch are open.
Domains = Callable[[Sequence[int]], AbstractContextManager[object]]


@dataclass(frozen=True)
class Decoded:
    """Words of one row.

    Attributes:
        search: the search that found them; with `checked`, `beam` for a row that was decoded again.
        doubt_nats: by how much CTC's best path is more probable (natural log), 0 if both are equal. None if
            CTC cannot tell: for a translation, for the base's own times, and without a CTC head.
        said: how probable the words are; None where the base's own times are among them.
    """

    hypothesis: Hypothesis
    search: Literal["greedy", "beam", "ctc"]
    doubt_nats: float | None
    warnings: tuple[str, ...] = ()
    said: Said | None = None


@torch.no_grad()
def decode(
    base: BaseModel,
    encoded: Tensor,
    prompts: Sequence[Prompt],
    options: DecodingOptions,
    domains: Domains,
    max_tokens: int | None = None,
) -> list[Decoded]:
    """Decode encoder output (B, T, d), each row with its own prompt.

    Rows with keywords are searched apart, so that the others stay as they are without them.

    Args:
        domains: returns a context that opens the domains of some rows while only these are searched.
        max_tokens: where to cut a transcript that does not end; by default T.

    Raises:
        SsvdError: the search rejects its options.
        KeywordError: it is greedy or CTC's, and a prompt has keywords.
    """
    given = [row for row, prompt in enumerate(prompts) if prompt.keywords]
    if not given:
        return _decode(base, encoded, prompts, options, domains, max_tokens)
    options.check(prompts)
    # CTC scores no times, so rows that say them are searched without it.
    timed = [row for row in given if prompts[row].timestamps]
    by_beam = replace(options, method="beam")
    decoded: dict[int, Decoded] = {}
    for rows, chosen, search in (
        ([row for row in range(len(prompts)) if row not in given], options, _decode),
        ([row for row in given if row not in timed], by_beam, _by_keywords),
        (timed, replace(by_beam, ctc_weight=0.0), _by_keywords),
    ):
        if rows:
            told = [prompts[row] for row in rows]
            found = search(base, _some(encoded, rows), told, chosen, _among(domains, rows), max_tokens)
            decoded |= zip(rows, found, strict=True)
    return [decoded[row] for row in range(len(prompts))]


def _some(encoded: Tensor, rows: Sequence[int]) -> Tensor:
    return encoded[torch.tensor(rows, device=encoded.device)]


def _among(domains: Domains, rows: Sequence[int]) -> Domains:
    """Return the domains of some rows, by their places among these."""
    return lambda chosen: domains([rows[place] for place in chosen])


def _decode(
    base: BaseModel,
    encoded: Tensor,
    prompts: Sequence[Prompt],
    options: DecodingOptions,
    domains: Domains,
    max_tokens: int | None,
) -> list[Decoded]:
    """Decode rows by one search, and with `checked` the doubtful ones again."""
    assert options.method is not None  # DecodingOptions.of
    everyone = range(len(encoded))
    with domains(everyone):
        if options.method == "ctc":
            found = best_path(base.ctc_head, encoded, base.tokens)
        elif options.method == "beam":
            found = _beam(base, encoded, prompts, options, max_tokens)
        else:
            found = greedy(base, encoded, prompts, max_tokens)
    search = "greedy" if options.method == "checked" else options.method
    known = [
        row
        for row in everyone
        if base.ctc_head is not None and prompts[row].task == RECOGNITION and not prompts[row].timestamps
    ]
    judged = _judged(base, encoded, found, known)
    weight = _ctc_weight(base, options, search)
    decoded = [
        _told(each, search, judged.get(row), weight, timed=prompts[row].timestamps)
        for row, each in enumerate(found)
    ]
    if options.method != "checked":
        return decoded
    if base.ctc_head is None:
        return _checked_by_signs(base, encoded, prompts, options, domains, max_tokens, found)
    again = [row for row in known if judged[row][0] > options.doubt_nats]
    if again:
        chosen = _some(encoded, again)
        with domains(again):
            better = _beam(base, chosen, [prompts[row] for row in again], options, max_tokens)
        judged = _judged(base, chosen, better, range(len(again)))
        for place, (row, each) in enumerate(zip(again, better, strict=True)):
            decoded[row] = _told(each, "beam", judged[place], options.ctc_weight)
    return decoded


def _by_keywords(
    base: BaseModel,
    encoded: Tensor,
    prompts: Sequence[Prompt],
    options: DecodingOptions,
    domains: Domains,
    max_tokens: int | None,
) -> list[Decoded]:
    """Search rows with keywords by a beam, and look for signs that words are wrong where CTC cannot tell.

    Each keyword has a bonus wherever it is said, so a row may repeat one without end. Such a row is decoded
    as if it had none.
    """
    decoded = _decode(base, encoded, prompts, options, domains, max_tokens)
    doubtful = [row for row, each in enumerate(decoded) if is_doubtful(each.hypothesis)]
    if base.ctc_head is not None or not doubtful:
        return decoded
    with domains(doubtful):
        silences = base.no_speech(_some(encoded, doubtful)) or [0.0] * len(doubtful)
    for row, silence in zip(doubtful, silences, strict=True):
        if is_silence(decoded[row].hypothesis, silence):
            decoded[row] = _silent(decoded[row])
        else:
            decoded[row] = replace(decoded[row], warnings=(WARNING,))
    looping = [row for row in doubtful if loops(decoded[row].hypothesis)]
    if looping:
        bare = [replace(prompts[row], keywords=()) for row in looping]
        plain = replace(options, method="checked")
        others = _decode(base, _some(encoded, looping), bare, plain, _among(domains, looping), max_tokens)
        for row, other in zip(looping, others, strict=True):
            decoded[row] = replace(other, warnings=(*other.warnings, WITHOUT_KEYWORDS))
    return decoded


def _silent(found: Decoded) -> Decoded:
    """Return a row without its words."""
    silence = replace(found.hypothesis, token_ids=(), log_probs=(), text="", segments=())
    return Decoded(silence, found.search, None, (SILENT,))


def _checked_by_signs(
    base: BaseModel,
    encoded: Tensor,
    prompts: Sequence[Prompt],
    options: DecodingOptions,
    domains: Domains,
    max_tokens: int | None,
    found: Sequence[Hypothesis],
) -> list[Decoded]:
    """Search doubtful rows again and leave out words where there is no speech, for a base without CTC."""
    decoded = [
        _told(each, "greedy", None, 0.0, timed=prompt.timestamps)
        for each, prompt in zip(found, prompts, strict=True)
    ]
    again = [row for row, each in enumerate(found) if is_doubtful(each)]
    if not again:
        return decoded
    chosen = _some(encoded, again)
    with domains(again):
        others = _beam(base, chosen, [prompts[row] for row in again], options, max_tokens)
        silences = base.no_speech(chosen) or [0.0] * len(again)
    for row, other, silence in zip(again, others, silences, strict=True):
        best = better(found[row], other)
        search: Literal["greedy", "beam"] = "beam" if best is other else "greedy"
        if is_silence(best, silence):
            decoded[row] = _silent(Decoded(best, search, None))
        else:
            told = _told(best, search, None, 0.0, timed=prompts[row].timestamps)
            decoded[row] = replace(told, warnings=(WARNING,) if is_doubtful(best) else ())
    return decoded


def _beam(
    base: BaseModel,
    encoded: Tensor,
    prompts: Sequence[Prompt],
    options: DecodingOptions,
    max_tokens: int | None,
) -> list[Hypothesis]:
    return beam(
        base, encoded, prompts,
        beam_size=options.beam_size, ctc_weight=options.ctc_weight, max_tokens=max_tokens,
        keyword_nats=options.keyword_nats,
    )  # fmt: skip


def _told(
    found: Hypothesis,
    search: Literal["greedy", "beam", "ctc"],
    judged: tuple[float, float] | None,
    ctc_weight: float,
    *,
    timed: bool = False,
) -> Decoded:
    """Return a row's words with what CTC thinks of them (doubt, ln P), found with this weight of CTC."""
    doubt, ctc = (None, None) if judged is None else judged
    said = None if timed else Said.of(found, ctc, ctc_weight)
    return Decoded(found, search, doubt, said=said)


def _ctc_weight(base: BaseModel, options: DecodingOptions, search: str) -> float:
    """Return the weight that CTC has in the scores of a search."""
    if search == "ctc":
        return 1.0
    return options.ctc_weight if search == "beam" and base.ctc_head is not None else 0.0


def _judged(
    base: BaseModel, encoded: Tensor, found: Sequence[Hypothesis], rows: Sequence[int]
) -> dict[int, tuple[float, float]]:
    """Return CTC's doubt about the words of these rows, and ln P of them, by row."""
    if not rows:
        return {}
    chosen = encoded if len(rows) == len(encoded) else _some(encoded, rows)
    assert base.ctc_head is not None  # `rows` would be empty
    judge = CtcJudge(base.ctc_head, chosen, base.tokens)
    return dict(zip(rows, judge.judged([found[row].token_ids for row in rows]), strict=True))
