"""Choosing: which domain a request's pieces are decoded in, where the request leaves that to the server.

First the base hears the pieces that decide (voice points), which ranks the candidates. Unless one is sure,
the base and the best of the ranking then decode these pieces side by side, in the same batches. The one that
finds its words most probable decodes the rest. Its trial is part of the reply, which therefore has the words
of a request that names the domain.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from server.auto.candidates import BASE, Candidate, Candidates, posteriors
from server.auto.wish import AutoWish
from server.auto_options import AutoOptions
from server.bank.bank import Lease
from server.domains import Domains
from server.engine.jobs import Job, Part
from server.engine.messages import Chosen, Considered, Decoded
from ssvd_asr.audio.read import SAMPLE_RATE
from ssvd_asr.base.voice import HEARD_S
from ssvd_asr.errors import SsvdError

logger = logging.getLogger(__name__)

THREADS = 2  # that rank and load candidates, which the device's thread must not wait for

Enqueue = Callable[[Job, Sequence[Part]], None]


@dataclass(eq=False)
class Choice:
    """One decision: about a whole request by its first pieces, or about one piece.

    Attributes:
        deciding: the pieces that decide, as parts without a domain.
        rest: the pieces that follow the decision.
        hint: whether the request names its domain and only wants to know of a better one.
    """

    job: Job
    wish: AutoWish
    deciding: Sequence[Part]
    rest: Sequence[Part]
    hint: bool = False
    candidates: Sequence[Candidate] = ()
    points: dict[int, npt.NDArray[np.float32]] = field(default_factory=dict)  # by index of the part
    likely: dict[str, float] = field(default_factory=dict)  # posterior by name
    leases: dict[str, Lease | None] = field(default_factory=dict)  # of the trials, by name
    tried: dict[str, dict[int, Decoded]] = field(default_factory=dict)  # by name, then index
    failed: set[str] = field(default_factory=set)
    settled: bool = False

    def scores(self, ctc_weight: float) -> dict[str, float]:
        """Return nats a token of each trial over the deciding pieces."""
        found = {}
        for name, decoded in self.tried.items():
            if name in self.failed or len(decoded) < len(self.deciding):
                continue
            said = [each.said for each in decoded.values() if each.said is not None]
            tokens = sum(each.tokens for each in said)
            if tokens:
                found[name] = sum(each.score(ctc_weight) * each.tokens for each in said) / tokens
        return found


class Chooser:
    """Makes the choices of an engine's requests."""

    def __init__(
        self,
        domains: Domains,
        candidates: Candidates,
        options: AutoOptions,
        enqueue: Enqueue,
        finish: Callable[[Job], None],
    ) -> None:
        """`enqueue` queues parts beyond the queue's limit; `finish` answers a job that has nothing left."""
        self._domains, self._candidates, self.options = domains, candidates, options
        self._enqueue, self._finish = enqueue, finish
        self._pool = ThreadPoolExecutor(THREADS, "ssvd-choosing")

    def close(self) -> None:
        """Begin nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def check(self, wish: AutoWish) -> None:
        """Raise as Candidates.check does."""
        self._candidates.check(wish)

    def begin(self, job: Job, parts: Sequence[Part], wish: AutoWish, *, hint: bool = False) -> list[Part]:
        """Return the parts by which the base hears what decides about a job's parts."""
        groups: list[tuple[Sequence[Part], Sequence[Part]]] = [(parts, ())]
        if self.options.per_piece and not hint:
            groups = [((part,), ()) for part in parts]
        else:
            first = _deciding(parts, self.options.heard_s)
            groups = [(parts[:first], parts[first:])]
        listening = []
        for deciding, rest in groups:
            choice = Choice(job, wish, deciding, () if hint else rest, hint)
            job.choices.append(choice)
            for part in deciding:
                piece = replace(part.piece, lease=None, listens=True)
                listening.append(Part(job, part.index, piece, choice))
        return listening

    def note(self, part: Part, result: Decoded | Exception) -> None:
        """Take the result of a part of a choice. Called on the device's thread."""
        choice = part.choice
        assert isinstance(choice, Choice)
        if choice.settled:
            return
        if isinstance(result, Exception):
            self._part_failed(choice, part, result)
            return
        if part.trial is None:
            assert result.voice is not None
            choice.points[part.index] = result.voice
            if len(choice.points) == len(choice.deciding):
                self._pool.submit(self._safely, choice, self._open)
            return
        choice.tried.setdefault(part.trial, {})[part.index] = result
        self._compare_if_all_are_there(choice)

    def words_decoded(self, job: Job) -> None:
        """Compare for a hint, if its request's own words were all that was missing."""
        for choice in job.choices:
            if isinstance(choice, Choice) and choice.hint and choice.tried and not choice.settled:
                self._compare_if_all_are_there(choice)

    def _part_failed(self, choice: Choice, part: Part, error: Exception) -> None:
        if choice.hint:
            logger.warning("no hint: %s", error)
            self._settle(choice)
        elif part.trial in (None, BASE):
            choice.job.fail(error)
        else:
            logger.warning("%s is not considered: %s", part.trial, error)
            choice.failed.add(part.trial)
            self._compare_if_all_are_there(choice)

    def _safely(self, choice: Choice, work: Callable[[Choice], None]) -> None:
        try:
            work(choice)
        except Exception as error:
            if choice.hint:
                logger.warning("no hint: %s", error)
                self._settle(choice)
            else:
                logger.exception("no domain could be chosen")
                choice.job.fail(error)

    def _open(self, choice: Choice) -> None:
        """Rank the candidates; decode in the sure one, or try the best."""
        choice.candidates = self._candidates.of(choice.wish)
        seconds = [min(HEARD_S, len(part.piece.wave) / SAMPLE_RATE) for part in choice.deciding]
        points = np.stack([choice.points[part.index] for part in choice.deciding])
        choice.likely = posteriors(choice.candidates, points, seconds)
        ranked = sorted(choice.candidates, key=lambda each: -choice.likely.get(each.name, -1.0))
        best = ranked[0]
        is_known = best.name in choice.likely
        if choice.hint:
            own = choice.job.lease.name if choice.job.lease is not None else BASE
            if not is_known or best.name == own:
                self._settle(choice)
                return
            wanted = [best]
        elif is_known and (choice.wish.mode == "fast" or choice.likely[best.name] >= self.options.sure):
            wanted = [best]
        elif choice.wish.mode == "fast":
            wanted = [each for each in ranked if each.name == BASE]
        else:
            domains = [each for each in ranked if each.name != BASE][: self.options.decode]
            wanted = [*(each for each in ranked if each.name == BASE), *domains]
        for candidate in wanted:
            self._lease(choice, candidate)
        if not choice.leases:
            self._lease(choice, next(each for each in ranked if each.name == BASE))
        if len(choice.leases) == 1 and not choice.hint:
            self._decide(choice, next(iter(choice.leases)))
            return
        if not choice.leases:
            self._settle(choice)
            return
        self._enqueue(
            choice.job,
            [
                Part(choice.job, part.index, replace(part.piece, lease=lease), choice, name)
                for name, lease in choice.leases.items()
                for part in choice.deciding
            ],
        )

    def _lease(self, choice: Choice, candidate: Candidate) -> None:
        """Hold a candidate for as long as the request lasts; leave it out if it cannot be loaded."""
        if candidate.version is None:
            choice.leases[BASE] = None
            return
        try:
            lease = self._domains.lease(candidate.version.pinned)
        except SsvdError as error:
            choice.job.notes.append(f"Domain {candidate.name} could not be considered: {error}")
            return
        choice.job.hold(lease)
        choice.leases[candidate.name] = lease

    def _compare_if_all_are_there(self, choice: Choice) -> None:
        waiting = [
            name
            for name in choice.leases
            if name not in choice.failed and len(choice.tried.get(name, {})) < len(choice.deciding)
        ]
        if waiting:
            return
        scores = choice.scores(self.options.ctc_weight)
        if choice.hint:
            self._tell_hint(choice, scores)
            return
        best = max(scores, key=lambda name: scores[name], default=BASE)
        if (
            BASE in choice.leases
            and scores.get(best, 0.0) - scores.get(BASE, float("-inf")) <= self.options.margin
        ):
            best = BASE
        self._decide(choice, best)

    def _tell_hint(self, choice: Choice, scores: dict[str, float]) -> None:
        """Say which candidate the words are clearly more probable in, once the named domain's are there."""
        decoded = [choice.job.decoded.get(part.index) for part in choice.deciding]
        own_said = [each.said for each in decoded if each is not None and each.said is not None]
        if any(each is None for each in decoded):
            return  # `words_decoded` comes back
        tokens = sum(each.tokens for each in own_said)
        if tokens and scores:
            own = sum(each.score(self.options.ctc_weight) * each.tokens for each in own_said) / tokens
            best = max(scores, key=lambda name: scores[name])
            if scores[best] > own + HINT_NATS:
                what = f"domain {best}" if best != BASE else "the base without a domain"
                choice.job.notes.append(
                    f"This recording sounds more like {what}, which is surer of its words "
                    f"(by {scores[best] - own:.2f} nats a token); domain=auto would compare them."
                )
        self._settle(choice)

    def _settle(self, choice: Choice) -> None:
        choice.settled = True
        self._finish(choice.job)

    def _decide(self, choice: Choice, name: str) -> None:
        """Take over a trial's words, and queue the other pieces in the domain."""
        job, lease = choice.job, choice.leases[name]
        choice.settled = True
        job.chosen.append(_chosen(choice, lease, self.options))
        job.tell_choice(lease, sum(len(each.piece.wave) for each in (*choice.deciding, *choice.rest)))
        tried = choice.tried.get(name, {})
        to_do = [part for part in choice.deciding if part.index not in tried] + list(choice.rest)
        for index, decoded in tried.items():
            job.take(index, decoded)
        if to_do:
            self._enqueue(job, [Part(job, part.index, replace(part.piece, lease=lease)) for part in to_do])
        self._finish(job)


HINT_NATS = 0.1  # a token: less is no reason to doubt the domain that a request names


def _deciding(parts: Sequence[Part], heard_s: float) -> int:
    """Return how many pieces from the beginning hold `heard_s` seconds, at least one."""
    heard = 0.0
    for count, part in enumerate(parts, 1):
        heard += len(part.piece.wave) / SAMPLE_RATE
        if heard >= heard_s:
            return count
    return len(parts)


def _chosen(choice: Choice, lease: Lease | None, options: AutoOptions) -> Chosen:
    scores = choice.scores(options.ctc_weight)
    versions = {each.name: each.version for each in choice.candidates}
    shown = [each for each in choice.candidates if each.name in choice.likely or each.name in choice.leases]
    pieces = choice.deciding
    return Chosen(
        domain=None if lease is None else lease.name,
        start_s=pieces[0].piece.start_s,
        compared=len(scores) > 1,
        considered=tuple(
            Considered(
                each.name or None,
                None if (version := versions[each.name]) is None else version.version,
                None if version is None else version.sha256,
                choice.likely.get(each.name),
                scores.get(each.name),
            )
            for each in sorted(
                shown,
                key=lambda each: (-scores.get(each.name, float("-inf")), -choice.likely.get(each.name, -1.0)),
            )
        ),
    )
