"""Decoding of a batch with the search of its options, and doubt about each row, CTC's where there is CTC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ssvd_asr.base.model import BaseModel
from ssvd_asr.base.prompt import Prompt
from ssvd_asr.base.window import FloatArray
from ssvd_asr.decoding.batch import Batch, Decoded, Domains, chosen_rows
from ssvd_asr.decoding.best_path import best_path
from ssvd_asr.decoding.ctc_judge import CtcJudge
from ssvd_asr.decoding.fallback import (
    FEW,
    REPEATED,
    SILENT,
    WARNING,
    WITHOUT_KEYWORDS,
    better,
    is_doubtful,
    is_endless_loop,
    is_silence,
)
from ssvd_asr.decoding.greedy import greedy
from ssvd_asr.decoding.hypothesis import Hypothesis, spoken
from ssvd_asr.decoding.options import DecodingOptions
from ssvd_asr.decoding.pace import Pace
from ssvd_asr.decoding.repeats import RULES, goes_on


@torch.no_grad()
def decode(
    base: BaseModel,
    encoded: Tensor,
    prompts: Sequence[Prompt],
    options: DecodingOptions,
    domains: Domains,
    max_tokens: int | None = None,
    waves: Sequence[FloatArray] | None = None,
) -> list[Decoded]:
    """Decode encoder output (B, T, d), each row with its own prompt.

    Rows with keywords are searched apart, so that the others stay as they are without them.

    Args:
        domains: returns a context that opens the domains of some rows while only these are searched.
        max_tokens: where to cut a transcript that does not end; by default T.
        waves: the rows' audio (samples,), by whose speech words that are missing, and loops, are told where
            CTC tells neither.

    Raises:
        SsvdError: the search rejects its options.
        KeywordError: it is greedy or CTC's, and a prompt has keywords.
    """
    paces = [Pace() for _ in prompts] if waves is None else list(map(Pace, waves))
    batch = Batch(base, encoded, prompts, domains, max_tokens, paces)
    given = [row for row, prompt in enumerate(prompts) if prompt.keywords]
    if not given:
        return _decode(batch, options)
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
            decoded |= zip(rows, search(batch.of(rows), chosen), strict=True)
    return [decoded[row] for row in range(len(prompts))]


def _decode(batch: Batch, options: DecodingOptions, *, looked_at: bool = False) -> list[Decoded]:
    """Decode rows by one search, and with `checked` the doubtful ones again.

    A search that is the only one goes on to the limit, unless its words are `looked_at` afterwards.
    """
    assert options.method is not None  # DecodingOptions.of
    base, prompts = batch.base, batch.prompts
    with batch.domains(batch.everyone):
        if options.method == "ctc":
            found = best_path(base.ctc_head, batch.encoded, base.tokens)
        elif options.method == "beam":
            found = batch.beam(options, to_the_limit=not looked_at)
        else:
            stops = batch.loops_from if options.method == "checked" else None
            found = greedy(base, batch.encoded, prompts, batch.max_tokens, loops_from=stops)
    search = "greedy" if options.method == "checked" else options.method
    known = batch.judged_by_ctc
    judged = _judged(base, batch.encoded, found, known)
    weight = _ctc_weight(base, options, search)
    decoded = [
        Decoded.of(each, search, judged.get(row), weight, timed=prompts[row].timestamps)
        for row, each in enumerate(found)
    ]
    if options.method != "checked":
        return decoded
    if base.ctc_head is None:
        return _checked_by_signs(batch, options, decoded)
    again = [row for row in known if judged[row][0] > options.doubt_nats]
    if again:
        doubtful = batch.of(again)
        with doubtful.domains(doubtful.everyone):
            better = doubtful.beam(options)
        judged = _judged(base, doubtful.encoded, better, doubtful.everyone)
        for place, (row, each) in enumerate(zip(again, better, strict=True)):
            decoded[row] = Decoded.of(each, "beam", judged[place], options.ctc_weight)
    unknown = [row for row in batch.everyone if row not in known]
    decoded = _without_loops(batch, decoded, unknown)
    for row in unknown:
        if _repeats(batch, row, decoded[row].hypothesis):
            decoded[row] = replace(decoded[row], warnings=(WARNING,))
    return decoded


def _by_keywords(batch: Batch, options: DecodingOptions) -> list[Decoded]:
    """Search rows with keywords by a beam, and look for signs that words are wrong where CTC cannot tell.

    Each keyword has a bonus wherever it is said, so a row may repeat one without end. Such a row is decoded
    as if it had none.
    """
    decoded = _decode(batch, options, looked_at=True)
    known = batch.judged_by_ctc
    wrong = _is_doubtful if batch.base.ctc_head is None else _repeats
    doubtful = [
        row for row in batch.everyone if row not in known and wrong(batch, row, decoded[row].hypothesis)
    ]
    if not doubtful:
        return decoded
    again = batch.of(doubtful)
    with again.domains(again.everyone):
        silences = again.no_speech()
    for row, silence in zip(doubtful, silences, strict=True):
        decoded[row] = _signed(batch, row, decoded[row], silence)
    looping = [row for row in doubtful if is_endless_loop(decoded[row].hypothesis, batch.paces[row])]
    if looping:
        bare = [replace(batch.prompts[row], keywords=()) for row in looping]
        others = _decode(replace(batch.of(looping), prompts=bare), replace(options, method="checked"))
        for row, other in zip(looping, others, strict=True):
            decoded[row] = replace(other, warnings=(*other.warnings, WITHOUT_KEYWORDS))
    return decoded


def _checked_by_signs(batch: Batch, options: DecodingOptions, decoded: list[Decoded]) -> list[Decoded]:
    """Search doubtful rows again and leave out words where there is no speech, for a base without CTC."""
    again = [row for row, each in enumerate(decoded) if _is_doubtful(batch, row, each.hypothesis)]
    if not again:
        return decoded
    doubtful = batch.of(again)
    with doubtful.domains(doubtful.everyone):
        others, silences = doubtful.beam(options), doubtful.no_speech()
    for row, other in zip(again, others, strict=True):
        if better(decoded[row].hypothesis, other, batch.paces[row]) is other:
            decoded[row] = Decoded.of(other, "beam", None, 0.0, timed=batch.prompts[row].timestamps)
    decoded = _without_loops(batch, decoded, again)
    for row, silence in zip(again, silences, strict=True):
        decoded[row] = _signed(batch, row, decoded[row], silence)
    return decoded


def _without_loops(batch: Batch, decoded: Sequence[Decoded], rows: Sequence[int]) -> list[Decoded]:
    """Search those of these rows that loop once more by the rules against it, until they end."""
    found = list(decoded)
    looping = [row for row in rows if _repeats(batch, row, found[row].hypothesis)]
    for rule in RULES:
        if not looping:
            break
        part = batch.of(looping)
        with part.domains(part.everyone):
            others = greedy(part.base, part.encoded, part.prompts, part.max_tokens, rule)
        for row, other in zip(looping, others, strict=True):
            if other.ended:
                told = Decoded.of(other, "greedy", None, 0.0, timed=batch.prompts[row].timestamps)
                found[row] = replace(told, warnings=(REPEATED,))
        looping = [row for row, other in zip(looping, others, strict=True) if not other.ended]
    return found


def _repeats(batch: Batch, row: int, found: Hypothesis) -> bool:
    """Return whether words loop by their tokens too: text of some scripts alone compresses like a loop."""
    loops = is_endless_loop(found, batch.paces[row])
    return loops and goes_on(spoken(found.token_ids, batch.base.tokens))


def _is_doubtful(batch: Batch, row: int, found: Hypothesis) -> bool:
    return is_doubtful(found, batch.paces[row])


def _signed(batch: Batch, row: int, found: Decoded, no_speech: float) -> Decoded:
    """Return a row without its words if they are improbable and no speech was heard, else with warnings."""
    if is_silence(found.hypothesis, no_speech):
        silence = replace(found.hypothesis, token_ids=(), log_probs=(), text="", segments=())
        return Decoded(silence, found.search, None, (SILENT,))
    pace = batch.paces[row]
    doubtful = (WARNING,) if is_doubtful(found.hypothesis, Pace()) else ()
    few = (FEW.format(pace.speech_s),) if pace.lacks_words(found.hypothesis.text) else ()
    return replace(found, warnings=(*found.warnings, *doubtful, *few))


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
    chosen = encoded if len(rows) == len(encoded) else chosen_rows(encoded, rows)
    assert base.ctc_head is not None  # `rows` would be empty
    judge = CtcJudge(base.ctc_head, chosen, base.tokens)
    return dict(zip(rows, judge.judged([found[row].token_ids for row in rows]), strict=True))
