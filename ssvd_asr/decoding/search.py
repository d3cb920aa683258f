"""The beam of one utterance: which hypotheses go on, which have ended, and when no better one can come."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from ssvd_asr.decoding.hypothesis import check_finite

HOPELESS = -10.0  # ESPnet's end_detect: natural log, of the best that ended
LOOK_BACK = 3  # ... at that many lengths in turn


class Candidate(NamedTuple):
    """A hypothesis made longer by a token: the sum of scores it would have."""

    score: float
    token: int


class Path(NamedTuple):
    """A hypothesis. ids: the prompt and everything said since, <eos> included where it ended itself."""

    ids: tuple[int, ...]
    score: float


class Search:
    """The hypotheses of one utterance; the one it begins with is the prompt.

    Attributes:
        running: those that go on, best first.
        done: nothing is left to follow.
        margin: the smallest distance between a score that was kept and one that was not.
        last_time: see Prompt.last_time.
    """

    def __init__(
        self, prompt: Sequence[int], beam_size: int, limit: int, eos: int, last_time: int | None = None
    ) -> None:
        self.prompt = tuple(prompt)
        self.running: list[Path] = [Path(self.prompt, 0.0)]
        self.done = False
        self.margin = math.inf
        self.last_time = last_time
        self._ended: list[Path] = []
        self._beam_size = beam_size
        self._limit = limit
        self._eos = eos

    def advance(self, candidates: Sequence[tuple[Sequence[Candidate], float]]) -> list[int]:
        """Say one more token; `running` is replaced. Returns the places of its parents in it.

        candidates: of each running hypothesis, with the distance at which others were left out beforehand.

        Raises:
            SsvdError: not one candidate has a finite score.
        """
        step = len(self.running[0].ids) - len(self.prompt)  # tokens said before this one
        offered = [(c.score, parent, c.token) for parent, (row, _) in enumerate(candidates) for c in row]
        offered = sorted((o for o in offered if o[0] > -math.inf), key=lambda o: -o[0])
        check_finite(offered[0][0] if offered else -math.inf)
        kept, left = offered[: self._beam_size], offered[self._beam_size :]
        edges = [edge for _, edge in candidates]
        if left:
            edges.append(kept[-1][0] - left[0][0])
        self.margin = min([self.margin, *edges])
        parents = []
        running = []
        for score, parent, token in kept:
            path = Path((*self.running[parent].ids, token), score)
            if token == self._eos or step == self._limit - 1:
                self._ended.append(path)
            else:
                running.append(path)
                parents.append(parent)
        self.done = not running or self._hopeless(step)
        self.running = [] if self.done else running
        return [] if self.done else parents

    def best(self) -> Path:
        """The best hypothesis that ended, once done; `margin` then counts the second best as well."""
        ranked = sorted(self._ended, key=lambda path: -path.score)
        if len(ranked) > 1:
            self.margin = min(self.margin, ranked[0].score - ranked[1].score)
        return ranked[0]

    def _hopeless(self, step: int) -> bool:
        """ESPnet's end_detect: what ended of late, at each of three lengths, was far below the best."""
        if not self._ended:
            return False
        best = max(path.score for path in self._ended)
        for back in range(1, LOOK_BACK + 1):
            length = len(self.prompt) + step - back
            alike = [path.score for path in self._ended if len(path.ids) == length]
            if not alike or max(alike) - best >= HOPELESS:
                return False
        return True
