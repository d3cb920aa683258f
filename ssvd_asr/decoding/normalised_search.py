"""Beam search of one utterance by scores that are divided by a power of the length, as in transformers.

It follows `generate` with early_stopping=False: a hypothesis that ends counts only if it is among the best
`beam_size` of its step, and the search stops once no running one seems able to beat the worst that ended.
"""

from __future__ import annotations

from collections.abc import Sequence

from ssvd_asr.decoding.utterance_search import Candidate, Offer, Path, Sought, UtteranceSearch


class NormalisedSearch(UtteranceSearch):
    """Search by the scores divided by a power of the length."""

    def __init__(self, sought: Sought, *, length_penalty: float) -> None:
        super().__init__(sought)
        self._ended: list[tuple[float, Path]] = []  # with their normalised scores, best first
        self._penalty = length_penalty

    def advance(self, candidates: Sequence[tuple[Sequence[Candidate], float]]) -> list[int]:
        """See UtteranceSearch."""
        length = len(self.running[0].ids) - len(self.sought.prompt) + 1  # with this token
        offered = self._offered(candidates)
        full = length >= self.sought.limit
        left = [edge for _, edge in candidates]
        chosen: list[Offer] = []
        rest: list[Offer] = []
        for rank, offer in enumerate(offered):
            if offer.token == self.sought.eos or full:
                if rank < self.sought.beam_size:
                    self._end(self._closed(self._longer(offer)), length)
            elif len(chosen) < self.sought.beam_size:
                chosen.append(offer)
            else:
                left.append(chosen[-1].settled - offer.settled)
                rest = offered[rank:]
                break
        self.margin = min([self.margin, *left])
        chosen += self._promising(rest)
        best = max((offer.score for offer in chosen), default=0.0)
        running, parents = [self._longer(offer) for offer in chosen], [offer.parent for offer in chosen]
        return self._go_on(running, parents, done=not running or self._settled(best, length))

    def best(self) -> Path:
        """See UtteranceSearch."""
        if len(self._ended) > 1:
            self.margin = min(self.margin, self._ended[0][0] - self._ended[1][0])
        return self._ended[0][1]

    def _end_running(self) -> None:
        for path in self.running:
            self._end(self._closed(path), len(path.ids) - len(self.sought.prompt))

    def _end(self, path: Path, length: int) -> None:
        self._ended.append((path.score / length**self._penalty, path))
        self._ended.sort(key=lambda each: -each[0])
        del self._ended[self.sought.beam_size :]

    def _settled(self, best_running: float, length: int) -> bool:
        """Return whether all places are taken, and the best running one is no better than the worst."""
        if len(self._ended) < self.sought.beam_size:
            return False
        return bool(best_running / length**self._penalty <= self._ended[-1][0])
