"""Beam search of one utterance: which hypotheses go on, which have ended, and when the search stops."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from ssvd_asr.decoding.hypothesis import check_finite
from ssvd_asr.decoding.keyword_tree import KeywordTree, Match

HOPELESS = -10.0  # ESPnet's end_detect: natural log, relative to the best that ended
LOOK_BACK = 3  # ... at this many successive lengths


class Candidate(NamedTuple):
    """Next token of a hypothesis, and the total score with it."""

    score: float
    token: int


class Path(NamedTuple):
    """Hypothesis.

    Attributes:
        ids: the prompt and all tokens since, including an <eos>.
        score: by which hypotheses are compared: the model's, and the bonus for keywords.
        gains: what each token added to the model's score.
        match: what it has said of keywords, and the bonus for that.
    """

    ids: tuple[int, ...]
    score: float
    gains: tuple[float, ...] = ()
    match: Match = Match()

    @property
    def own_score(self) -> float:
        """The model's score, without the bonus."""
        return self.score - self.match.value

    def with_token(self, token: int, score: float, match: Match) -> Path:
        """Return the path with one more token, and the total score and the keywords with it."""
        gained = (score - match.value) - self.own_score
        return Path((*self.ids, token), score, (*self.gains, gained), match)


class UtteranceSearch(ABC):
    """Hypotheses of one utterance. The first one is the prompt.

    Attributes:
        running: the hypotheses that go on, best first.
        done: whether the search is over.
        margin: the smallest distance between a score that was kept and one that was not.
        last_time: see Prompt.last_time.
        keywords: those of the utterance; None without any.
    """

    def __init__(
        self,
        prompt: Sequence[int],
        beam_size: int,
        limit: int,
        eos: int,
        last_time: int | None = None,
        keywords: KeywordTree | None = None,
    ) -> None:
        self.prompt = tuple(prompt)
        self.running: list[Path] = [Path(self.prompt, 0.0)]
        self.done = False
        self.margin = math.inf
        self.last_time = last_time
        self.keywords = keywords
        self._beam_size = beam_size
        self._limit = limit
        self._eos = eos

    @abstractmethod
    def advance(self, candidates: Sequence[tuple[Sequence[Candidate], float]]) -> list[int]:
        """Add one token to the hypotheses in `running`. Return the old indices of the new ones' parents.

        Args:
            candidates: those of each running hypothesis, at least one more than the beam's size where there
                are as many, and the distance to tokens left out beforehand.

        Raises:
            SsvdError: no candidate has a finite score.
        """

    @abstractmethod
    def best(self) -> Path:
        """Return the best hypothesis that ended, once done. `margin` then includes the second best."""

    def _offered(
        self, candidates: Sequence[tuple[Sequence[Candidate], float]]
    ) -> list[tuple[float, int, int]]:
        """Return all candidates as (score, parent, token), best first."""
        offered = [(c.score, parent, c.token) for parent, (row, _) in enumerate(candidates) for c in row]
        offered = sorted((o for o in offered if o[0] > -math.inf), key=lambda o: -o[0])
        check_finite(offered[0][0] if offered else -math.inf)
        return offered

    def _longer(self, parent: int, token: int, score: float) -> Path:
        """Return a running hypothesis with one more token, and the total score with it."""
        path = self.running[parent]
        match = path.match if self.keywords is None else self.keywords.after(path.match, token)
        return path.with_token(token, score, match)

    def _closed(self, path: Path) -> Path:
        """Return a hypothesis that ends here: a keyword that the limit cuts off is not completed."""
        if self.keywords is None or path.ids[-1] == self._eos:
            return path
        match = self.keywords.after(path.match, self._eos)
        return path._replace(score=path.own_score + match.value, match=match)

    def _go_on(self, running: list[Path], parents: list[int], *, done: bool) -> list[int]:
        """Take the hypotheses that go on, none if the search is over; return their parents."""
        self.done = done
        self.running = [] if done else running
        return [] if done else parents


class Search(UtteranceSearch):
    """Search by the sums of the scores, which stops as ESPnet's does."""

    def __init__(
        self,
        prompt: Sequence[int],
        beam_size: int,
        limit: int,
        eos: int,
        last_time: int | None = None,
        keywords: KeywordTree | None = None,
    ) -> None:
        super().__init__(prompt, beam_size, limit, eos, last_time, keywords)
        self._ended: list[Path] = []

    def advance(self, candidates: Sequence[tuple[Sequence[Candidate], float]]) -> list[int]:
        """See UtteranceSearch."""
        step = len(self.running[0].ids) - len(self.prompt)  # tokens before this one
        offered = self._offered(candidates)
        kept, left = offered[: self._beam_size], offered[self._beam_size :]
        edges = [edge for _, edge in candidates]
        if left:
            edges.append(kept[-1][0] - left[0][0])
        self.margin = min([self.margin, *edges])
        parents = []
        running = []
        for score, parent, token in kept:
            path = self._longer(parent, token, score)
            if token == self._eos or step == self._limit - 1:
                self._ended.append(self._closed(path))
            else:
                running.append(path)
                parents.append(parent)
        return self._go_on(running, parents, done=not running or self._hopeless(step))

    def best(self) -> Path:
        """See UtteranceSearch."""
        ranked = sorted(self._ended, key=lambda path: -path.score)
        if len(ranked) > 1:
            self.margin = min(self.margin, ranked[0].score - ranked[1].score)
        return ranked[0]

    def _hopeless(self, step: int) -> bool:
        """Return whether to stop, by ESPnet's end_detect.

        At each of the last LOOK_BACK lengths a hypothesis has ended, and all of these are far below the best.
        """
        if not self._ended:
            return False
        best = max(path.score for path in self._ended)
        for back in range(1, LOOK_BACK + 1):
            length = len(self.prompt) + step - back
            alike = [path.score for path in self._ended if len(path.ids) == length]
            if not alike or max(alike) - best >= HOPELESS:
                return False
        return True
