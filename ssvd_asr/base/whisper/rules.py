"""Rules for the next token, the same as those of transformers' logits processors for Whisper.

Some tokens are never said, some not at the beginning. If the prompt asks for times:

- the first token is a time, not later than a limit;
- times come in pairs, except before <|endoftext|>, and do not decrease;
- a time comes next if all times together are more probable than the best other token.

A row whose last time is given has no later time. If the prompt asks for none, nothing forbids times: as in
Whisper's own code they are merely improbable, and are no part of the text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ssvd_asr.base.whisper.tokens import WhisperTokens


class Rules:
    """The rules of one model, with its lists from generation_config.json."""

    def __init__(
        self,
        tokens: WhisperTokens,
        never: Sequence[int],
        not_first: Sequence[int],
        latest_start: int | None,
    ) -> None:
        """Take tokens that are never said, tokens not said first, and the steps of the latest first time."""
        self._tokens = tokens
        self._latest_start = latest_start
        self._never, self._not_first = torch.tensor(list(never)), torch.tensor(list(not_first))

    def content(self) -> list[object]:
        """Return the lists and the limit, as the digest covers them."""
        return [self._never.tolist(), self._not_first.tolist(), self._latest_start]

    def forbid(
        self, scores: Tensor, prefixes: Sequence[Sequence[int]], last_times: Sequence[int | None]
    ) -> None:
        """Set the scores (R, V) of tokens that may not follow to -inf, in place. See BaseModel.forbid."""
        if self._never.device != scores.device:
            self._never, self._not_first = self._never.to(scores.device), self._not_first.to(scores.device)
        told = [self._tokens.said(prefix) for prefix in prefixes]
        if len(self._never):
            scores[:, self._never] = -math.inf
        first = [row for row, (_, said) in enumerate(told) if not said]
        if first and len(self._not_first):
            rows = torch.tensor(first, device=scores.device).unsqueeze(1)
            scores[rows, self._not_first] = -math.inf
        for row, ((timed, said), last) in enumerate(zip(told, last_times, strict=True)):
            if timed:
                self._forbid_timed(scores[row], said, last)

    def _forbid_timed(self, scores: Tensor, said: Sequence[int], last: int | None) -> None:
        """Set the scores (V,) of one row that gives times."""
        tokens = self._tokens
        begin, is_time = tokens.first_time, tokens.is_time
        scores[tokens.notime] = -math.inf
        times = [index for index in said if is_time(index)]
        if said and is_time(said[-1]):
            if len(said) < 2 or is_time(said[-2]):
                scores[begin:] = -math.inf  # a pair, or the first time: words follow
            else:
                scores[: tokens.eos] = -math.inf  # a time after words: its twin or the end follows
        if times:
            closed = is_time(said[-1]) and not (len(said) < 2 or is_time(said[-2]))
            scores[begin : times[-1] + (not closed)] = -math.inf
        if not said:
            scores[:begin] = -math.inf
            if self._latest_start is not None:
                scores[begin + self._latest_start + 1 :] = -math.inf
        if last is not None:
            scores[last + 1 :] = -math.inf
        together, best = torch.logsumexp(scores[begin:], dim=0), scores[:begin].amax()
        scores[:begin] += torch.where(together > best, -math.inf, 0.0)  # the host does not wait
