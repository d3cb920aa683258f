"""Scores by the CTC head for transcripts of the decoder: log-probabilities of token sequences, and doubt.

An attention decoder can loop or stop early and still give its words high probabilities. CTC reads the same
encoder output frame by frame and does neither, so it detects such transcripts.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import ctc_loss, linear
from torch.nn.utils.rnn import pad_sequence

from ssvd_asr.base.model import Tokens
from ssvd_asr.decoding.best_path import CHUNK_BYTES, blank_of, collapsed


class CtcJudge:
    """Scores of the CTC head for encoder output (U, T, d), for rows of any domains.

    Attributes:
        best: the tokens of each row's best path.
    """

    @torch.no_grad()
    def __init__(self, head: nn.Linear, encoded: Tensor, tokens: Tokens) -> None:
        """Read all frames once, in chunks. No tensor (frames, tokens) of all frames is kept."""
        self._weight, self._bias = head.weight, head.bias  # (V, d), (V,)
        self._encoded, self._blank = encoded, blank_of(tokens)
        frames = max(1, CHUNK_BYTES // (4 * len(tokens)))
        paths, wholes = [], []
        for part in torch.split(self._encoded.flatten(0, 1), frames):  # (frames, d)
            logits = linear(part, self._weight, self._bias).float()
            paths.append(logits.argmax(dim=-1))
            wholes.append(torch.logsumexp(logits, dim=-1))
        self._whole = torch.cat(wholes).view(encoded.shape[:2])  # (U, T): log of the sum over all tokens
        self.best = [
            collapsed(path, self._blank) for path in torch.cat(paths).view(encoded.shape[:2]).tolist()
        ]
        self._best_score: Tensor | None = None

    @torch.no_grad()
    def log_probability(self, said: Sequence[Sequence[int]]) -> Tensor:
        """Return ln P(tokens | audio), summed over all alignments, of one sequence a row: (U,) float64.

        It is -inf if the row has fewer frames than the sequence needs. Source: the forward algorithm of
        Graves et al., "Connectionist temporal classification" (2006), as torch's ctc_loss computes it.
        """
        device = self._encoded.device
        known = [list(dict.fromkeys(row)) for row in said]  # the columns of each row, after the blank's
        asked = pad_sequence(
            [torch.tensor([self._blank, *row]) for row in known], batch_first=True, padding_value=self._blank
        ).to(device)  # (U, C)
        logits = torch.bmm(self._encoded, self._weight[asked].mT) + self._bias[asked].unsqueeze(1)
        scores = (logits.double() - self._whole.unsqueeze(2)).transpose(0, 1)  # (T, U, C)
        places = [{token: place + 1 for place, token in enumerate(row)} for row in known]
        targets = [place[token] for place, row in zip(places, said, strict=True) for token in row]
        lengths = torch.tensor([len(row) for row in said])
        frames = torch.full((len(said),), len(scores))
        loss = ctc_loss(
            scores, torch.tensor(targets, dtype=torch.long, device=device), frames, lengths,
            blank=0, reduction="none",
        )  # fmt: skip
        return -loss

    def doubt(self, said: Sequence[Sequence[int]]) -> list[float]:
        """Return by how many nats each row's best path is more probable than `said`; 0 if both are equal."""
        return [doubt for doubt, _ in self.judged(said)]

    def judged(self, said: Sequence[Sequence[int]]) -> list[tuple[float, float]]:
        """Return each row's `doubt` and ln P(said | audio)."""
        if self._best_score is None:
            self._best_score = self.log_probability(self.best)
        own = self.log_probability(said)
        apart = (self._best_score - own).tolist()
        return [
            (0.0 if tuple(tokens) == best else float(nats), float(score))
            for tokens, best, nats, score in zip(said, self.best, apart, own.tolist(), strict=True)
        ]
