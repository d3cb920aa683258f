"""Beam search over a batch, by attention and CTC. Each row gets what Speech2Text gives for it alone.

It follows ESPnet's BatchBeamSearch: the pre-beam that CTC scores, the end of the search, the length limit.
For a base whose scores are divided by the length, each row's search ends as in transformers' `generate`.
Hypotheses of all utterances are rows of one decoder; those that end leave it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ssvd_asr.base.model import BaseModel, Decoder, Tokens
from ssvd_asr.base.prompt import Prompt
from ssvd_asr.decoding.best_path import blank_of
from ssvd_asr.decoding.ctc_prefix import CtcPrefix
from ssvd_asr.decoding.greedy import limits_of
from ssvd_asr.decoding.hypothesis import Hypothesis, timed_segments, without
from ssvd_asr.decoding.keyword_tree import KeywordTree, add_bonus
from ssvd_asr.decoding.normalised_search import NormalisedSearch
from ssvd_asr.decoding.options import KEYWORD_NATS, KEYWORD_NATS_WITHOUT_CTC, check_options
from ssvd_asr.decoding.repeats import begins_to_loop
from ssvd_asr.decoding.utterance_search import Candidate, Path, Search, Sought, UtteranceSearch
from ssvd_asr.errors import SsvdError

PRE_BEAM_RATIO = 1.5  # BeamSearch's pre_beam_ratio


@torch.no_grad()
def beam(
    base: BaseModel,
    encoded: Tensor,
    prompts: Sequence[Prompt],
    *,
    beam_size: int = 5,
    ctc_weight: float = 0.3,
    max_tokens: int | None = None,
    keyword_nats: float | None = None,
    loops_from: Sequence[int | None] | None = None,
) -> list[Hypothesis]:
    """Decode encoder output (B, T, d), each row after its own prompt, and return each row's best hypothesis.

    Hypotheses of a row with keywords have a bonus for what they say of them (keyword_tree.py). It decides
    between them, and is no part of the scores that are returned.

    Args:
        beam_size: hypotheses followed for each row, 1..MAX_BEAM_SIZE.
        ctc_weight: weight of the CTC prefix score, in [0, 1); the decoder's is one minus it.
        max_tokens: most tokens to add; by default T, as with Speech2Text's maxlenratio of 0.
        keyword_nats: bonus for each piece of a keyword, natural log; None: see DecodingOptions.
        loops_from: of each row the tokens from which on its search ends if the best hypothesis that goes on
            is_endless.

    Raises:
        SsvdError: there is not one prompt for each row, a language or task is unknown, an option is out of
            range, or a prompt asks for times, which CTC does not know, with a ctc_weight above 0.
    """
    check_options(beam_size, ctc_weight, prompts)
    if len(prompts) != len(encoded):
        raise SsvdError(f"{len(prompts)} prompts for {len(encoded)} rows of audio: need one for each")
    tokens = base.tokens
    told = [tokens.prompt_ids(prompt) for prompt in prompts]
    limits = limits_of(base, told, encoded.size(1), max_tokens)
    open_search: type[Search] | partial[NormalisedSearch] = Search
    if base.length_penalty is not None:
        open_search = partial(NormalisedSearch, length_penalty=base.length_penalty)
    head = base.ctc_head
    if head is None:
        ctc, ctc_weight = None, 0.0  # nothing to weigh
    else:
        ctc = CtcPrefix(head, encoded, blank=blank_of(tokens)) if ctc_weight > 0 else None
    if keyword_nats is None:
        keyword_nats = KEYWORD_NATS_WITHOUT_CTC if ctc is None else KEYWORD_NATS
    trees = {
        words: KeywordTree(tokens, words, encoded.device, keyword_nats)
        for words in {each.keywords for each in prompts}
        if words
    }
    searches = [
        open_search(
            Sought(
                tuple(ids),
                beam_size,
                limit,
                tokens.eos,
                prompt.last_time(tokens),
                trees.get(prompt.keywords),
                stop,
            )
        )
        for ids, limit, prompt, stop in zip(
            told, limits, prompts, loops_from or [None] * len(told), strict=True
        )
    ]
    with base.open_decoder(encoded, width=2 * beam_size if trees else beam_size) as decoder:
        _Scorer(base, decoder, ctc, ctc_weight, beam_size).run(searches)
    return [_finish(search, prompt, tokens) for search, prompt in zip(searches, prompts, strict=True)]


@dataclass(frozen=True)
class _Scorer:
    """Scorer of the next tokens of all rows. It advances the searches and keeps the rows they choose."""

    base: BaseModel
    decoder: Decoder
    ctc: CtcPrefix | None
    ctc_weight: float
    beam_size: int

    def run(self, searches: Sequence[UtteranceSearch]) -> None:
        """Advance all searches in lock step until each is done."""
        running = list(searches)
        logp = self.decoder.read([search.sought.prompt for search in searches])  # (R, V)
        while True:
            paths = [path for search in running for path in search.running]
            last_times = [search.sought.last_time for search in running for _ in search.running]
            trees = [search.sought.keywords for search in running for _ in search.running]
            candidates = self._candidates(logp, paths, last_times, trees)
            parents: list[int] = []
            first = 0
            for search in running:
                width = len(search.running)
                chosen = search.advance(candidates[first : first + width])
                if self._loops(search):
                    chosen = search.stop()
                parents += [first + parent for parent in chosen]
                first += width
            running = [search for search in running if not search.done]
            if not running:
                return
            said = [path.ids[-1] for search in running for path in search.running]
            if parents != list(range(len(paths))):
                self.decoder.keep(parents)
            if self.ctc is not None:
                self.ctc.extend(parents, said)
            logp = self.decoder.advance(torch.tensor(said, device=logp.device).unsqueeze(1))

    def _loops(self, search: UtteranceSearch) -> bool:
        """Return whether the best hypothesis that goes on says one phrase without end."""
        if not search.running:
            return False
        said = search.running[0].ids[len(search.sought.prompt) :]
        return begins_to_loop(said, search.sought.loops_from, self.base.tokens)

    def _candidates(
        self,
        logp: Tensor,
        paths: Sequence[Path],
        last_times: Sequence[int | None],
        trees: Sequence[KeywordTree | None],
    ) -> list[tuple[list[Candidate], float]]:
        """Return each row's next tokens with their total scores, and the distance to those left out."""
        totals = torch.tensor([path.score for path in paths], device=logp.device).unsqueeze(1)
        scores = (1.0 - self.ctc_weight) * logp  # (R, V)
        self.base.forbid(scores, [path.ids for path in paths], last_times)
        if self.ctc is None:
            scores = scores + totals
        ids, edges = self._best(scores)
        given = any(tree is not None for tree in trees)
        if given:
            # A keyword's tokens may not be among the best ones without the bonus, nor these with it.
            add_bonus(scores, trees, [path.match for path in paths])
            others, further = self._best(scores)
            double = (others.unsqueeze(2) == ids.unsqueeze(1)).any(dim=2)
            ids, edges = torch.cat([ids, others], dim=1), torch.minimum(edges, further)
        sums = scores.gather(1, ids)
        if self.ctc is not None:
            sums, ids = self._with_ctc(self.ctc, sums, ids, scores[:, self.base.tokens.eos])
            sums = sums + totals
        if given:
            sums[:, double.size(1) : 2 * double.size(1)].masked_fill_(double, -torch.inf)
        # One transfer, since the host waits for each; a float32 holds every id below 2^24.
        table = torch.stack([sums, ids.to(sums.dtype), edges.unsqueeze(1).expand_as(sums)]).tolist()
        return [
            ([Candidate(score, int(token)) for score, token in zip(row, i, strict=True)], edge[0])
            for row, i, edge in zip(*table, strict=True)
        ]

    def _best(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Return the tokens (R, S) with the best scores (R, V), and the distance (R,) to those left out."""
        if self.ctc is None:
            # One more than can be kept, so that the search can measure the margin.
            best = scores.topk(min(self.beam_size + 1, scores.size(1)), dim=-1)
            return best.indices, torch.full_like(scores[:, 0], torch.inf)
        size = min(int(PRE_BEAM_RATIO * self.beam_size), scores.size(1) - 1)
        best = scores.topk(size + 1, dim=-1)
        return best.indices[:, :size], best.values[:, size - 1] - best.values[:, size]

    def _with_ctc(self, ctc: CtcPrefix, known: Tensor, ids: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
        """Return the scores (R, S + 1) of tokens with CTC's, and the tokens, among them <eos> at the end.

        Args:
            known, ids: the decoder's scores (R, S) of some tokens.
            ends: its scores (R,) of <eos>.
        """
        eos = self.base.tokens.eos
        gains, ended = ctc.score(ids)
        gains = gains.masked_fill(ids == eos, -torch.inf)  # <eos> has a column of its own
        gains = torch.cat([gains, ended.unsqueeze(1)], dim=1).to(known.dtype)
        sums = torch.cat([known, ends.unsqueeze(1)], dim=1) + self.ctc_weight * gains
        return sums, torch.cat([ids, torch.full_like(ids[:, :1], eos)], dim=1)


def _finish(search: UtteranceSearch, prompt: Prompt, tokens: Tokens) -> Hypothesis:
    best = search.best()
    said = best.ids[len(search.sought.prompt) :]
    ids, log_probs = without(said, best.gains, (tokens.blank, tokens.eos))
    return Hypothesis(
        token_ids=ids,
        text=tokens.decode(ids),
        score=best.own_score,
        margin=search.margin,
        ended=best.ids[-1] == tokens.eos,
        segments=timed_segments(ids, tokens) if prompt.timestamps else (),
        log_probs=log_probs,
    )
