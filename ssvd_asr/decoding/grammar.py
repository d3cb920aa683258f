"""Which tokens may come next: ESPnet's ScoreFilter, rule by rule, so that both allow the same transcripts.

Where no times were asked for, none may come. Where they were: the first token is a time; a segment that is
open goes on until a later time closes it, and <eos> has to wait; after a closed segment comes <eos> or the
start of the next one, not before the end of the last.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from ssvd_asr.base.tokens import TokenMap


def forbid(scores: Tensor, prefixes: Sequence[Sequence[int]], tokens: TokenMap) -> None:
    """Set the scores (R, V) of tokens that may not follow to -inf, in place.

    prefixes: of each row, its whole prompt and all said since.
    """
    untimed = [row for row, prefix in enumerate(prefixes) if tokens.notime in prefix]
    times = slice(tokens.first_time, tokens.last_time + 1)
    if len(untimed) == len(scores):  # the usual case, without a list to be copied to the device
        scores[:, times] = -math.inf
    elif untimed:
        scores[untimed, times] = -math.inf
    for row, prefix in enumerate(prefixes):
        if tokens.notime not in prefix:
            _forbid_timed(scores[row], prefix, tokens)


def _forbid_timed(scores: Tensor, prefix: Sequence[int], tokens: TokenMap) -> None:
    """One row (V,) that gives times."""
    times = [index for index in prefix if tokens.is_time(index)]
    if prefix[-3] == tokens.sos:  # <sos> <language> <task>: nothing is said yet
        scores[: tokens.first_time] = -math.inf
        scores[tokens.last_time + 1 :] = -math.inf
    elif len(times) % 2:  # a segment is open
        scores[tokens.eos : tokens.eos + 1] = -math.inf  # one number by itself would be copied from the host
        scores[tokens.first_time : times[-1] + 1] = -math.inf
    else:  # a time has just closed a segment: no other token can leave an even number of times
        closing = scores[tokens.eos].clone()
        scores[: prefix[-1]] = -math.inf
        scores[tokens.last_time + 1 :] = -math.inf
        scores[tokens.eos] = closing
