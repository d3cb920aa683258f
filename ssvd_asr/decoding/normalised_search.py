"""Beam search of one utterance by scores that are divided by a power of the length, as in transformers.

It follows `generate` with early_stopping=False: a hypothesis that ends counts only if it is among the best
`beam_size` of its step, and the search stops once no running one seems able to beat the worst that ended.
"""

from __future__ import annotations

from collections.abc import Sequence

from ssvd_asr.decoding.keyword_tree import KeywordTree
from ssvd_asr.decoding.utterance_search import Candidate, Path, UtteranceSearch


class NormalisedSearch(UtteranceSearch):
    """Search by the scores divided by a power of the length."""

    def __init__(
        self,
        prompt: Sequence[int],
        beam_size: int,
        limit: int,
        eos: int,
        last_time: int | None = None,
        keywords: KeywordTree | None = None,
        *,
        length_penalty: float,
    ) -> None:
        super().__init__(prompt, beam_size, limit, eos, last_time, keywords)
        self._ended: list[tuple[float, Path]] = []  # with their normalised scores, best first
        self._penalty = length_penalty

    def advance(self, candidates: Sequence[tuple[Sequence[Candidate], float]]) -> list[int]:
        """See UtteranceSearch."""
        length = len(self.running[0].ids) - len(self.prompt) + 1  # with this token
        offered = self._offered(candidates)
        full = length >= self._limit
        parents: list[int] = []
        running: list[Path] = []
        left = [edge for _, edge in candidates]
        for rank, (score, parent, token) in enumerate(offered):
            path = self._longer(parent, token, score)
            if token == self._eos or full:
                if rank < self._beam_size:
                    self._end(self._closed(path), length)
            elif len(running) < self._beam_size:
                running.append(path)
                parents.append(parent)
            else:
                left.append(running[-1].score - score)
                break
        self.margin = min([self.margin, *left])
        return self._go_on(running, parents, done=not running or self._settled(running[0].score, length))

    def best(self) -> Path:
        """See UtteranceSearch."""
        if len(self._ended) > 1:
            self.margin = min(self.margin, self._ended[0][0] - self._ended[1][0])
        return self._ended[0][1]

    def _end(self, path: Path, length: int) -> None:
        self._ended.append((path.score / length**self._penalty, path))
        self._ended.sort(key=lambda each: -each[0])
        del self._ended[self._beam_size :]

    def _settled(self, best_running: float, length: int) -> bool:
        """Return whether all places are taken, and the best running one is no better than the worst."""
        if len(self._ended) < self._beam_size:
            return False
        return bool(best_running / length**self._penalty <= self._ended[-1][0])
