"""Rules for the next token, the same as those of ESPnet's ScoreFilter.

If the prompt asks for no times, no time may come. Otherwise:

- the first token is a time;
- an open segment goes on until a later time closes it, and <eos> may not come before that;
- after a closed segment comes <eos>, or the start of the next one, not before the end of the last.

A row whose last time is given follows two more rules. No time is later than that one. And Whisper's: within a
segment a time comes next if all times together are more probable than the best piece. Each single time may be
less probable than some piece, and without the rule decoding then goes on after the last word.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ssvd_asr.base.owsm.tokens import TokenMap


def forbid(
    scores: Tensor,
    prefixes: Sequence[Sequence[int]],
    tokens: TokenMap,
    last_times: Sequence[int | None] | None = None,
) -> None:
    """Set the scores (R, V) of tokens that may not follow to -inf, in place.

    prefixes: each row's whole prompt and all tokens since.
    last_times: the last time that each row may give, or None for ESPnet's rules alone.
    """
    untimed = [row for row, prefix in enumerate(prefixes) if tokens.notime in prefix]
    times = slice(tokens.first_time, tokens.last_time + 1)
    if len(untimed) == len(scores):  # the usual case; copies no list of rows to the device
        scores[:, times] = -math.inf
    elif untimed:
        scores[untimed, times] = -math.inf
    for row, prefix in enumerate(prefixes):
        if tokens.notime not in prefix:
            _forbid_timed(scores[row], prefix, tokens)
            if last_times is not None and (last := last_times[row]) is not None:
                _forbid_late(scores[row], prefix, tokens, last)


def _forbid_timed(scores: Tensor, prefix: Sequence[int], tokens: TokenMap) -> None:
    """Set the scores (V,) of forbidden tokens to -inf in one row that gives times."""
    times = [index for index in prefix if tokens.is_time(index)]
    if prefix[-3] == tokens.sos:  # <sos> <language> <task>: no token yet
        scores[: tokens.first_time] = -math.inf
        scores[tokens.last_time + 1 :] = -math.inf
    elif len(times) % 2:  # a segment is open
        scores[tokens.eos : tokens.eos + 1] = -math.inf  # a slice: one element would be copied from the host
        scores[tokens.first_time : times[-1] + 1] = -math.inf
    else:  # the last token is a time that closed a segment; other tokens come only in an open one
        closing = scores[tokens.eos].clone()
        scores[: prefix[-1]] = -math.inf
        scores[tokens.last_time + 1 :] = -math.inf
        scores[tokens.eos] = closing


def _forbid_late(scores: Tensor, prefix: Sequence[int], tokens: TokenMap, last: int) -> None:
    """One row (V,) that gives times up to `last`, after ESPnet's rules."""
    is_open = sum(tokens.is_time(index) for index in prefix) % 2 == 1
    # A segment starts before the last time, which is left to close it.
    scores[last + is_open : tokens.last_time + 1] = -math.inf
    if is_open and not tokens.is_time(prefix[-1]):
        times = torch.logsumexp(scores[tokens.first_time : tokens.last_time + 1], dim=0)
        before, after = scores[: tokens.first_time], scores[tokens.last_time + 1 :]
        best = torch.cat([before, after]).amax()
        barred = torch.where(times > best, -math.inf, 0.0)  # decided on the device: the host does not wait
        before += barred
        after += barred
