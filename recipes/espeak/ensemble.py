"""Ensemble of domains: rows of one utterance under several domains, which agree on every token.

An experiment, not part of the server. The decoder's next-token log-probabilities and CTC's are averaged over
the domains; the search is otherwise that of `ssvd_asr.decoding`: greedy, and a beam search for rows that CTC
doubts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from ssvd_asr.base.model import BaseModel, Decoder
from ssvd_asr.base.prompt import Prompt
from ssvd_asr.base.window import FloatArray
from ssvd_asr.decoding.beam import _Scorer
from ssvd_asr.decoding.best_path import blank_of
from ssvd_asr.decoding.ctc_judge import CtcJudge
from ssvd_asr.decoding.ctc_prefix import CtcPrefix
from ssvd_asr.decoding.options import CHECKED
from ssvd_asr.decoding.utterance_search import Search, Sought

# Opens the domains, one after the other, for blocks of so many rows.
Domains = Callable[[int], AbstractContextManager[object]]


class EnsembleDecoder:
    """`Decoder` whose rows stand for one row under each domain: block d of the inner rows has domain d."""

    def __init__(self, inner: Decoder, domains: int) -> None:
        self._inner, self._domains, self._rows = inner, domains, 0

    def read(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """See `Decoder.read`."""
        self._rows = len(prompts)
        return self._mean(self._inner.read([*prompts] * self._domains))

    def advance(self, tokens: Tensor) -> Tensor:
        """See `Decoder.advance`."""
        return self._mean(self._inner.advance(tokens.repeat(self._domains, 1)))

    def keep(self, rows: Sequence[int]) -> None:
        """See `Decoder.keep`."""
        self._inner.keep([block * self._rows + row for block in range(self._domains) for row in rows])
        self._rows = len(rows)

    def _mean(self, logp: Tensor) -> Tensor:
        return logp.view(self._domains, -1, logp.size(-1)).mean(0)


class EnsembleCtc:
    """Prefix scores of CTC, averaged over the domains' encoder outputs. Stands for `CtcPrefix`."""

    def __init__(self, parts: Sequence[CtcPrefix]) -> None:
        self._parts = parts

    def score(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """See `CtcPrefix.score`."""
        gains, ends = zip(*(part.score(tokens) for part in self._parts), strict=True)
        return torch.stack(gains).mean(0), torch.stack(ends).mean(0)

    def extend(self, rows: Sequence[int], tokens: Sequence[int]) -> None:
        """See `CtcPrefix.extend`."""
        for part in self._parts:
            part.extend(rows, tokens)


@torch.no_grad()
def transcribe_together(
    base: BaseModel, waves: Sequence[FloatArray], domains: Domains, count: int
) -> list[str]:
    """Return the words of each wave by the default search, under `count` domains together."""
    with domains(len(waves)):
        encoded = base.encode([*waves] * count)  # (count * B, T, d)
    blocks = encoded.view(count, len(waves), *encoded.shape[1:])
    found = _search(base, blocks, domains, beam_size=1, ctc_weight=0.0)
    doubts = _doubts(base, blocks, found)
    again = [row for row, nats in enumerate(doubts) if nats > CHECKED.doubt_nats]
    if again:
        chosen = blocks[:, torch.tensor(again)]
        better = _search(base, chosen, domains, beam_size=CHECKED.beam_size, ctc_weight=CHECKED.ctc_weight)
        for row, ids in zip(again, better, strict=True):
            found[row] = ids
    return [base.tokens.decode(ids) for ids in found]


def _search(
    base: BaseModel, blocks: Tensor, domains: Domains, *, beam_size: int, ctc_weight: float
) -> list[tuple[int, ...]]:
    """Search blocks (D, B, T, d) and return the tokens of each of the B utterances."""
    tokens, prompt = base.tokens, base.tokens.prompt_ids(Prompt())
    count, utterances = blocks.shape[:2]
    sought = Sought(tuple(prompt), beam_size, blocks.size(2), tokens.eos)
    searches = [Search(sought) for _ in range(utterances)]
    ctc = None
    if ctc_weight > 0:
        ctc = EnsembleCtc([CtcPrefix(_head(base), block, blank=blank_of(tokens)) for block in blocks])
    with (
        domains(utterances),
        base.open_decoder(blocks.flatten(0, 1), width=beam_size) as inner,
    ):
        decoder = EnsembleDecoder(inner, count)
        _Scorer(base, decoder, ctc, ctc_weight, beam_size).run(searches)  # type: ignore[arg-type]
    silent = (tokens.blank, tokens.eos)
    return [
        tuple(each for each in search.best().ids[len(prompt) :] if each not in silent) for search in searches
    ]


def _doubts(base: BaseModel, blocks: Tensor, found: Sequence[tuple[int, ...]]) -> list[float]:
    """Return by how many nats, averaged over the domains, a domain's best path is more probable."""
    judges = [CtcJudge(_head(base), block, base.tokens) for block in blocks]

    def mean(said: Sequence[Sequence[int]]) -> Tensor:
        return torch.stack([judge.log_probability(said) for judge in judges]).mean(0)

    best = torch.stack([mean(judge.best) for judge in judges]).amax(0)  # -inf where one has no room for it
    return [max(0.0, float(nats)) for nats in best - mean(found)]


def _head(base: BaseModel) -> nn.Linear:
    assert base.ctc_head is not None  # owsm-nano has one
    return base.ctc_head
