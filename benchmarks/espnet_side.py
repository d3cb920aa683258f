"""ESPnet's own decoding on a base's weights, assembled as in Speech2Text.

It is built from BatchBeamSearch and its scorers, because importing Speech2Text also imports ESPnet's task
module. Speech2Text's ScoreFilter, which forbids times at nearly no cost, is left out, because these models
never write one.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from espnet2.legacy.nets.batch_beam_search import BatchBeamSearch
from espnet2.legacy.nets.scorers.ctc import CTCPrefixScorer
from espnet2.legacy.nets.scorers.length_bonus import LengthBonus
from torch import Tensor

from ssvd_asr.base.model import BaseModel
from ssvd_asr.base.owsm.fast_encoder import as_espnet
from ssvd_asr.base.prompt import Prompt

# CTCPrefixScoreTH holds log-probabilities of all frames and tokens, and a stack of these and the blank's.
CTC_COPIES = 3


def espnet_base(base: BaseModel) -> BaseModel:
    """Return a copy of the base with ESPnet's own encoder on the same weights. Everything else is shared."""
    found = copy.copy(base)
    found.network = copy.copy(base.network)
    found.network._modules = {**base.network._modules, "encoder": as_espnet(base.network.encoder)}
    return found


@dataclass(frozen=True)
class EspnetSide:
    """A base decoded by ESPnet's search. `beam_size` 1 with `ctc_weight` 0 is its greedy decoding."""

    base: BaseModel
    beam_size: int
    ctc_weight: float

    @torch.no_grad()
    def batch(self, encoded: Tensor, tokens: int) -> list[tuple[int, ...]]:
        """Decode all utterances (B, T, d) in one search of `tokens` steps, as Speech2Text.batch_decode."""
        lengths = torch.full((len(encoded),), encoded.size(1), device=encoded.device)
        found = self._search()(encoded, maxlenratio=-tokens, x_lengths=lengths)
        return [self._said(hypotheses[0].yseq) for hypotheses in found]

    @torch.no_grad()
    def call(self, encoded: Tensor, tokens: int) -> list[tuple[int, ...]]:
        """Decode one utterance (T, d) after the other, as Speech2Text.__call__."""
        search = self._search()
        return [self._said(search(row, maxlenratio=-tokens)[0].yseq) for row in encoded]

    def ctc_bytes(self, rows: int, frames: int) -> int:
        """Return the bytes of the CTC scores of `rows` utterances of `frames` frames; 0 without CTC."""
        if self.ctc_weight == 0:
            return 0
        return CTC_COPIES * rows * frames * len(self.base.tokens) * self.base.dtype.itemsize

    def _search(self) -> BatchBeamSearch:
        """Build the search as in Speech2Text.__init__, "Build BeamSearch object"."""
        network, vocabulary = self.base.network, len(self.base.tokens)
        search = BatchBeamSearch(
            scorers={
                "decoder": network.decoder,
                "ctc": CTCPrefixScorer(ctc=network.ctc, eos=network.eos),
                "length_bonus": LengthBonus(vocabulary),
            },
            weights={"decoder": 1.0 - self.ctc_weight, "ctc": self.ctc_weight, "length_bonus": 0.0},
            beam_size=self.beam_size,
            vocab_size=vocabulary,
            sos=network.sos,
            eos=network.eos,
            pre_beam_score_key="full",
        )
        search.set_hyp_primer(self.base.tokens.prompt_ids(Prompt()))
        return search.eval()

    def _said(self, ids: Tensor) -> tuple[int, ...]:
        """Return the tokens without the prompt and without the <eos> that the search appends at its limit."""
        return tuple(ids.tolist()[len(self.base.tokens.prompt_ids(Prompt())) : -1])
