"""Beam search of one utterance: which hypotheses go on, which have ended, and when the search stops."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
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


class Offer(NamedTuple):
    """Hypothesis that may go on: a running one with one more token, its total score and its keywords."""

    score: float
    parent: int
    token: int
    match: Match

    @property
    def settled(self) -> float:
        """The score without the bonus of keywords that are not completed."""
        return self.score - self.match.unearned


@dataclass(frozen=True, eq=False)
class Sought:
    """What a search is to find.

    Attributes:
        prompt: ids that every hypothesis begins with.
        beam_size: hypotheses that go on.
        limit: most tokens after the prompt.
        eos: the token that ends a transcript.
        last_time: see Prompt.last_time.
        keywords: those of the utterance; None without any.
        loops_from: see `beam`.
    """

    prompt: tuple[int, ...]
    beam_size: int
    limit: int
    eos: int
    last_time: int | None = None
    keywords: KeywordTree | None = None
    loops_from: int | None = None


class UtteranceSearch(ABC):
    """Hypotheses of one utterance. The first one is the prompt.

    The best `beam_size` go on. What a hypothesis has for keywords that it has not completed does not count
    for that: half a keyword would push the right words out, and be taken back later. So that keywords can be
    completed nevertheless, as many hypotheses more go on that are the best with it.

    Attributes:
        running: the hypotheses that go on, best first.
        done: whether the search is over.
        margin: the smallest distance between a score that was kept and one that was not.
    """

    def __init__(self, sought: Sought) -> None:
        self.sought = sought
        self.running: list[Path] = [Path(sought.prompt, 0.0)]
        self.done = False
        self.margin = math.inf

    @abstractmethod
    def advance(self, candidates: Sequence[tuple[Sequence[Candidate], float]]) -> list[int]:
        """Add one token to the hypotheses in `running`. Return the old indices of the new ones' parents.

        Args:
            candidates: those of each running hypothesis, at least one more than the beam's size where there
                are as many, and the distance to tokens left out beforehand.

        Raises:
            SsvdError: no candidate has a finite score.
        """

    def stop(self) -> list[int]:
        """End the search here, as at the limit."""
        self._end_running()
        return self._go_on([], [], done=True)

    @abstractmethod
    def _end_running(self) -> None:
        """Count the hypotheses that go on among those that have ended."""

    @abstractmethod
    def best(self) -> Path:
        """Return the best hypothesis that ended, once done. `margin` then includes the second best."""

    def _offered(self, candidates: Sequence[tuple[Sequence[Candidate], float]]) -> list[Offer]:
        """Return all candidates, those with the best settled scores first."""
        offered = [
            Offer(each.score, parent, each.token, self._match(parent, each.token))
            for parent, (row, _) in enumerate(candidates)
            for each in row
            if each.score > -math.inf
        ]
        offered.sort(key=lambda each: -each.settled)
        check_finite(offered[0].score if offered else -math.inf)
        return offered

    def _match(self, parent: int, token: int) -> Match:
        match = self.running[parent].match
        return match if self.sought.keywords is None else self.sought.keywords.after(match, token)

    def _promising(self, left: Sequence[Offer]) -> list[Offer]:
        """Return those that go on for the keywords that they have begun, of what the beam leaves."""
        if self.sought.keywords is None:
            return []
        begun = sorted((each for each in left if each.match.open), key=lambda each: -each.score)
        if len(begun) > self.sought.beam_size:
            self.margin = min(
                self.margin, begun[self.sought.beam_size - 1].score - begun[self.sought.beam_size].score
            )
        return begun[: self.sought.beam_size]

    def _longer(self, offer: Offer) -> Path:
        return self.running[offer.parent].with_token(offer.token, offer.score, offer.match)

    def _closed(self, path: Path) -> Path:
        """Return a hypothesis that ends here: a keyword that the limit cuts off is not completed."""
        if self.sought.keywords is None or path.ids[-1] == self.sought.eos:
            return path
        match = self.sought.keywords.after(path.match, self.sought.eos)
        return path._replace(score=path.own_score + match.value, match=match)

    def _go_on(self, running: list[Path], parents: list[int], *, done: bool) -> list[int]:
        """Take the hypotheses that go on, none if the search is over; return their parents."""
        self.done = done
        self.running = [] if done else running
        return [] if done else parents


class Search(UtteranceSearch):
    """Search by the sums of the scores, which stops as ESPnet's does."""

    def __init__(self, sought: Sought) -> None:
        super().__init__(sought)
        self._ended: list[Path] = []

    def advance(self, candidates: Sequence[tuple[Sequence[Candidate], float]]) -> list[int]:
        """See UtteranceSearch."""
        step = len(self.running[0].ids) - len(self.sought.prompt)  # tokens before this one
        offered = self._offered(candidates)
        kept, left = offered[: self.sought.beam_size], offered[self.sought.beam_size :]
        edges = [edge for _, edge in candidates]
        if left:
            edges.append(kept[-1].settled - left[0].settled)
        self.margin = min([self.margin, *edges])
        parents = []
        running = []
        for offer in [*kept, *self._promising(left)]:
            path = self._longer(offer)
            if offer.token == self.sought.eos or step == self.sought.limit - 1:
                self._ended.append(self._closed(path))
            else:
                running.append(path)
                parents.append(offer.parent)
        return self._go_on(running, parents, done=not running or self._hopeless(step))

    def best(self) -> Path:
        """See UtteranceSearch."""
        ranked = sorted(self._ended, key=lambda path: -path.score)
        if len(ranked) > 1:
            self.margin = min(self.margin, ranked[0].score - ranked[1].score)
        return ranked[0]

    def _end_running(self) -> None:
        self._ended += map(self._closed, self.running)

    def _hopeless(self, step: int) -> bool:
        """Return whether to stop, by ESPnet's end_detect.

        At each of the last LOOK_BACK lengths a hypothesis has ended, and all of these are far below the best.
        """
        if not self._ended:
            return False
        best = max(path.score for path in self._ended)
        for back in range(1, LOOK_BACK + 1):
            length = len(self.sought.prompt) + step - back
            alike = [path.score for path in self._ended if len(path.ids) == length]
            if not alike or max(alike) - best >= HOPELESS:
                return False
        return True
