"""Greedy decoding of a batch. Each row gets the tokens that Speech2Text(beam_size=1) gives for it alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ssvd_asr.base.model import BaseModel, Decoder, Tokens
from ssvd_asr.base.prompt import Prompt
from ssvd_asr.base.rows import filled
from ssvd_asr.decoding.hypothesis import Hypothesis, check_finite, spoken, timed_segments, without
from ssvd_asr.decoding.repeats import Rule, begins_to_loop
from ssvd_asr.errors import SsvdError

ENDED_SHARE = 1 / 8  # of a batch; for fewer rows, copying the others' keys and values costs more


@dataclass
class _Row:
    """State of a row. ids: its prompt and all tokens since."""

    prompt: Sequence[int]
    limit: int  # most tokens to add
    last_time: int | None  # see Prompt.last_time
    loops_from: int | None  # see `greedy`
    ids: list[int] = field(init=False)
    log_probs: list[float] = field(default_factory=list)  # of the tokens after the prompt
    score: float = 0.0
    margin: float = math.inf
    ended: bool = False

    def __post_init__(self) -> None:
        self.ids = list(self.prompt)

    @property
    def said(self) -> list[int]:
        return self.ids[len(self.prompt) :]

    @property
    def done(self) -> bool:
        return self.ended or len(self.ids) - len(self.prompt) >= self.limit


@torch.no_grad()
def greedy(
    base: BaseModel,
    encoded: Tensor,
    prompts: Sequence[Prompt],
    max_tokens: int | Sequence[int] | None = None,
    rule: Rule | None = None,
    *,
    loops_from: Sequence[int | None] | None = None,
) -> list[Hypothesis]:
    """Decode encoder output (B, T, d), each row after its own prompt, until each has ended.

    Rows that have ended leave the batch, a share of it at a time. Per-row cores on the decoder's adapted
    linears leave with them and are back when this returns.

    Args:
        max_tokens: a row without <eos> ends after this many tokens; one limit for all rows, or one for each.
            By default T, as with Speech2Text's maxlenratio of 0.
        rule: says which tokens may not follow, beside those that the base forbids.
        loops_from: of each row the tokens from which on it ends, as at its limit, if it is_endless.

    Raises:
        SsvdError: there is not one prompt for each row, a language or task is unknown, max_tokens is below 1,
            or no token has a finite score.
    """
    if len(prompts) != len(encoded):
        raise SsvdError(f"{len(prompts)} prompts for {len(encoded)} rows of audio: need one for each")
    tokens = base.tokens
    told = [tokens.prompt_ids(prompt) for prompt in prompts]
    limits = limits_of(base, told, encoded.size(1), max_tokens)
    rows = [
        _Row(ids, limit, prompt.last_time(tokens), loops_from=stop)
        for ids, limit, prompt, stop in zip(
            told, limits, prompts, loops_from or [None] * len(told), strict=True
        )
    ]
    with base.open_decoder(encoded) as decoder:
        _decode(base, decoder, rows, rule)
    return [_finish(row, prompt, tokens) for row, prompt in zip(rows, prompts, strict=True)]


def limits_of(
    base: BaseModel, prompts: Sequence[Sequence[int]], frames: int, wanted: int | Sequence[int] | None
) -> list[int]:
    """Return the most tokens of each row: what is wanted, and never more than the base can say.

    Raises:
        SsvdError: a limit below 1 is wanted, or a prompt leaves no room for a token.
    """
    own = [base.most_tokens(prompt, frames) for prompt in prompts]
    if min(own, default=1) < 1:
        longest = max(map(len, prompts))
        raise SsvdError(f"a prompt of {longest} tokens leaves base {base.name!r} no room for a transcript")
    if wanted is None:
        return own
    limits = [wanted] * len(prompts) if isinstance(wanted, int) else list(wanted)
    if min(limits, default=1) < 1:
        raise SsvdError(f"max_tokens={wanted}: must be at least 1")
    return limits


def _decode(base: BaseModel, decoder: Decoder, rows: Sequence[_Row], rule: Rule | None) -> None:
    """Advance all rows in lock step and record their tokens, until all are done."""
    running = list(rows)
    scores = decoder.read([row.prompt for row in rows])  # (R, V)
    totals = scores.new_zeros(len(rows))  # (R,) float32
    while True:
        if rule is not None:  # before the base compares times with words that may follow
            for place, row in enumerate(running):
                scores[place, list(rule(spoken(row.said, base.tokens)))] = -torch.inf
        base.forbid(scores, [row.ids for row in running], [row.last_time for row in running])
        # Add the sum so far before taking the best, as the beam search does, so that ties fall alike.
        best = (scores + totals.unsqueeze(1)).topk(2, dim=-1)
        # One transfer, since the host waits for each; a float32 holds every id below 2^24.
        found = torch.cat([best.values, best.indices[:, :1].to(best.values.dtype)], dim=1).tolist()
        for row, (*reached, chosen) in zip(running, found, strict=True):
            if not row.done:
                _say(row, int(chosen), reached, base.tokens.eos)
                if begins_to_loop(row.said, row.loops_from, base.tokens):
                    row.limit = len(row.said)
        totals, fed = best.values[:, 0], best.indices[:, :1]  # rows that have ended get any token
        alive = [index for index, row in enumerate(running) if not row.done]
        if not alive:
            return
        if len(running) - len(alive) >= ENDED_SHARE * len(running):
            alive = filled(alive)
            decoder.keep(alive)
            left = torch.tensor(alive, device=fed.device)
            running, totals, fed = [running[index] for index in alive], totals[left], fed[left]
        scores = decoder.advance(fed)


def _say(row: _Row, token: int, reached: Sequence[float], eos: int) -> None:
    """Record the row's next token. reached: the totals with the best and with the second best token."""
    check_finite(reached[0])
    gained, row.score = reached[0] - row.score, reached[0]
    row.margin = min(row.margin, reached[0] - reached[1])
    row.ended = token == eos
    if not row.ended:
        row.ids.append(token)
        row.log_probs.append(gained)


def _finish(row: _Row, prompt: Prompt, tokens: Tokens) -> Hypothesis:
    ids, log_probs = without(row.said, row.log_probs, (tokens.blank,))
    return Hypothesis(
        token_ids=ids,
        text=tokens.decode(ids),
        score=row.score,
        margin=row.margin,
        ended=row.ended,
        segments=timed_segments(ids, tokens) if prompt.timestamps else (),
        log_probs=log_probs,
    )
