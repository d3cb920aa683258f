"""CTC prefix scores of many rows at once: how likely the audio begins with a row's tokens and one more.

Algorithm 2 of Watanabe et al., "Hybrid CTC/attention architecture for end-to-end speech recognition" (2017),
as ESPnet's CTCPrefixScore computes it. ESPnet loops over the frames. Here each recursion over frames is a
cumulative sum in the log domain. That needs float64, because log-probabilities summed over a window are large
compared with the differences that matter. Only the tokens that are asked for get scores: all frames by all
tokens would take a gigabyte for eight windows of OWSM.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ssvd_asr.base.rows import Rows
from ssvd_asr.decoding.best_path import CHUNK_BYTES
from ssvd_asr.errors import BaseModelError


class CtcPrefix:
    """Prefixes of R rows over U utterances. Begins with one empty prefix for each utterance.

    The state of the rows is (R, T), float64: the log-probability of all paths that have output the prefix by
    frame t and are at its last token (`_label`) or at a blank (`_silent`).
    """

    def __init__(self, head: nn.Module, encoded: Tensor, *, blank: int) -> None:
        """Prepare the scores of a CTC head on encoder output (U, T, d).

        Raises:
            BaseModelError: the head is not one linear layer with a bias.
        """
        if not isinstance(head, nn.Linear) or head.bias is None:
            raise BaseModelError(
                f"the CTC head is a {type(head).__name__}; prefix scores know a linear layer with a bias"
            )
        self._blank = blank
        self._weight, self._bias = head.weight, head.bias  # (V, d), (V,)
        self._rows = Rows(len(encoded), encoded.device)
        self._heard = encoded.float().mT.contiguous()  # (U, d, T)
        self._whole = self._normaliser(encoded.float())  # (U, T): log of the sum over all tokens
        blanks = torch.full((len(encoded), 1), blank, device=encoded.device)
        self._stay = self._frames(blanks)[:, 0].cumsum(-1)  # (U, T): only blanks so far
        self._silent = self._stay
        self._label = torch.full_like(self._silent, -math.inf)
        self._score = self._silent.new_zeros(len(encoded))  # (R,) of the prefixes
        self._last = torch.full_like(blanks[:, 0], -1)  # (R,) their last tokens; -1 if empty

    def score(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return what appending tokens (R, S) adds to the rows' log-probabilities, and what ending adds.

        Both are float64, (R, S) and (R,). The blank cannot be appended and gets -inf.
        """
        gains = torch.logsumexp(self._entered(tokens) + self._frames(tokens), dim=-1)
        gains = gains.masked_fill(tokens == self._blank, -math.inf)
        ends = torch.logaddexp(self._label[:, -1], self._silent[:, -1])
        return gains - self._score.unsqueeze(1), ends - self._score

    def extend(self, rows: Sequence[int], tokens: Sequence[int]) -> None:
        """Keep these rows (R',) of the current ones, and append a token to each."""
        self._keep(rows)
        said = torch.tensor(tokens, device=self._last.device)
        appended = said.unsqueeze(1)
        frames, entered = self._frames(appended)[:, 0], self._entered(appended)[:, 0]  # (R', T)
        self._score, self._last = torch.logsumexp(entered + frames, dim=-1), said
        # label[t] = logaddexp(label[t-1], entered[t]) + frames[t], and silent[t] from both of t-1 likewise.
        so_far = frames.cumsum(-1)
        self._label = so_far + torch.logcumsumexp(entered - _delayed(so_far, 0.0), dim=-1)
        stay = self._rows.each(self._stay)
        self._silent = stay + torch.logcumsumexp(_delayed(self._label - stay, -math.inf), dim=-1)

    def _keep(self, rows: Sequence[int]) -> None:
        left = self._rows.keep(rows)
        if left is not None:
            heard = torch.tensor(left, device=self._last.device)
            self._heard, self._whole, self._stay = self._heard[heard], self._whole[heard], self._stay[heard]
        chosen = torch.tensor(rows, device=self._last.device)
        self._label, self._silent = self._label[chosen], self._silent[chosen]
        self._score, self._last = self._score[chosen], self._last[chosen]

    def _entered(self, tokens: Tensor) -> Tensor:
        """Return the log-probability (R, S, T) of the paths that can step onto the token at frame t.

        A path steps from a token to its repetition only through a blank. An empty prefix exists before the
        first frame.
        """
        either = torch.logaddexp(self._label, self._silent)
        repeated = (tokens == self._last.unsqueeze(1)).unsqueeze(2)
        before = torch.where(repeated, self._silent.unsqueeze(1), either.unsqueeze(1))
        entered = _delayed(before, -math.inf)
        entered[..., 0] = torch.where(self._last < 0, 0.0, -math.inf).unsqueeze(1)
        return entered

    def _frames(self, tokens: Tensor) -> Tensor:
        """Return the log-probability (R, S, T), float64, of each of a row's tokens (R, S) at each frame."""
        asked = self._rows.spread(self._weight[tokens].float())  # (U, width, S, d)
        logits = torch.bmm(asked.flatten(1, 2), self._heard)  # (U, width S, T)
        logits = logits.view(*asked.shape[:3], -1)
        logits = self._rows.collect(logits) + self._bias[tokens].float().unsqueeze(2)
        return logits.double() - self._rows.each(self._whole).unsqueeze(1)

    def _normaliser(self, encoded: Tensor) -> Tensor:
        """Return the logsumexp over the vocabulary, (U, T), float64, computed in chunks of frames."""
        weight, bias = self._weight.float(), self._bias.float()
        frames = max(1, CHUNK_BYTES // (4 * len(weight)))
        parts = torch.split(encoded.flatten(0, 1), frames)
        whole = torch.cat([torch.logsumexp(linear(part, weight, bias), dim=-1) for part in parts])
        return whole.view(encoded.shape[:2]).double()


def _delayed(x: Tensor, first: float) -> Tensor:
    """Return x (..., T) one frame later, beginning with `first`."""
    return torch.cat([torch.full_like(x[..., :1], first), x[..., :-1]], dim=-1)
