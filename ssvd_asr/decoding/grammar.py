"""Rules for the next token, the same as those of ESPnet's ScoreFilter.

If the prompt asks for no times, no time may come. Otherwise:

- the first token is a time;
- an open segment goes on until a later time closes it, and <eos> may not come before that;
- after a closed segment comes <eos>, or the start of the next one, not before the end of the last.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from ssvd_asr.base.tokens import TokenMap


def forbid(scores: Tensor, prefixes: Sequence[Sequence[int]], tokens: TokenMap) -> None:
    """Set the scores (R, V) of tokens that may not follow to -inf, in place.

    prefixes: each row's whole prompt and all tokens since.
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
