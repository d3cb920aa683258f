"""CTC best path of a batch: the likeliest token of each frame, without repetitions and blanks. No search."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor, nn

from ssvd_asr.base.model import Tokens
from ssvd_asr.decoding.hypothesis import Hypothesis, check_finite
from ssvd_asr.errors import SsvdError

CHUNK_BYTES = 64 * 2**20  # of logits over the whole vocabulary at a time


@torch.no_grad()
def best_path(head: nn.Linear | None, encoded: Tensor, tokens: Tokens) -> list[Hypothesis]:
    """Decode encoder output (B, T, d) of OWSM-CTC or any base by its CTC head, as Speech2Text.best_path does.

    Hypothesis.score is that of this path, and margin is the smallest distance between the two best tokens of
    a frame. The head takes no prompt: it does the task that it was trained on.

    Raises:
        SsvdError: the base has no such head, or a frame's scores are not finite.
    """
    if head is None:
        raise SsvdError("search ctc: this base has no CTC head; choose checked, greedy or beam")
    frames = max(1, CHUNK_BYTES // (4 * len(tokens)))
    best, scores, margins = [], [], []
    for part in torch.split(encoded.flatten(0, 1), frames):  # (frames, d)
        logits = head(part).float()  # (frames, V)
        top = logits.topk(2, dim=-1)
        best.append(top.indices[:, 0])
        scores.append(top.values[:, 0] - torch.logsumexp(logits, dim=-1))
        margins.append(top.values[:, 0] - top.values[:, 1])
    shape = encoded.shape[:2]
    path = torch.cat(best).view(shape)
    nats, margin = torch.cat(scores).view(shape), torch.cat(margins).view(shape).amin(1)
    return [
        _hypothesis(row, each, total, near, tokens)
        for row, each, total, near in zip(
            path.tolist(), nats.tolist(), nats.sum(1).tolist(), margin.tolist(), strict=True
        )
    ]


def blank_of(tokens: Tokens) -> int:
    """Return the id of the blank, which every base with a CTC head has."""
    assert tokens.blank is not None
    return tokens.blank


def collapsed(path: Sequence[int], blank: int) -> tuple[int, ...]:
    """Return a path's tokens without repetitions and blanks."""
    changes = [token for place, token in enumerate(path) if place == 0 or path[place - 1] != token]
    return tuple(token for token in changes if token != blank)


def _hypothesis(
    path: list[int], nats: list[float], score: float, margin: float, tokens: Tokens
) -> Hypothesis:
    check_finite(score)
    blank = blank_of(tokens)
    ids = collapsed(path, blank)
    runs = groupby(zip(path, nats, strict=True), key=lambda frame: frame[0])
    log_probs = tuple(max(each for _, each in run) for token, run in runs if token != blank)
    return Hypothesis(ids, tokens.decode(ids), score, margin, ended=True, log_probs=log_probs)
