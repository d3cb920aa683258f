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
from dataclasses import replace
from functools import partial

import numpy as np

from server.auto.candidates import BASE, Candidate, Candidates, posteriors
from server.auto.wish import AutoWish
from server.auto_options import AutoOptions
from server.domains import Domains
from server.engine.choice import Choice, chosen_of, how_many_decide, nats_a_token
from server.engine.jobs import Job, Part
from server.engine.messages import Decoded
from server.errors import DeadlineError, DrainingError
from ssvd_asr.audio.read import SAMPLE_RATE
from ssvd_asr.base.voice import HEARD_S
from ssvd_asr.errors import SsvdError

logger = logging.getLogger(__name__)

THREADS = 2  # that rank and load candidates, which the device's thread must not wait for

HINT_NATS = 0.1  # a token: less is no reason to doubt the domain that a request names

Enqueue = Callable[[Job, Sequence[Part]], None]


class Chooser:
    """Makes the choices of an engine's requests."""

    def __init__(
        self,
        domains: Domains,
        candidates: Candidates,
        options: AutoOptions,
        enqueue: Enqueue,
        finish: Callable[[Job], None],
        check_time: Callable[[Job], None],
    ) -> None:
        """Take what the engine does for its jobs.

        `enqueue` queues parts beyond the queue's limit, or raises DrainingError. `finish` answers a job that
        has nothing left. `check_time` raises DeadlineError for one whose time is over.
        """
        self._domains, self._candidates, self.options = domains, candidates, options
        self._enqueue, self._finish, self._check_time = enqueue, finish, check_time
        self._pool = ThreadPoolExecutor(THREADS, "ssvd-choosing")

    def close(self) -> None:
        """Begin nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def check(self, wish: AutoWish) -> None:
        """Raise as Candidates.check does."""
        self._candidates.check(wish)

    def begin(self, job: Job, parts: Sequence[Part], wish: AutoWish, *, hint: bool = False) -> list[Part]:
        """Return the parts by which the base hears what decides about a job's parts."""
        groups: list[tuple[Sequence[Part], Sequence[Part]]]
        if self.options.per_piece and not hint:
            groups = [((part,), ()) for part in parts]
        else:
            first = how_many_decide(parts, self.options.heard_s)
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
        """Take the result of a part of a choice. Called on the device's thread, and raises nothing there."""
        choice = part.choice
        assert isinstance(choice, Choice)
        if not choice.settled:
            self._safely(choice, partial(self._take, choice, part, result))

    def _take(self, choice: Choice, part: Part, result: Decoded | Exception) -> None:
        if isinstance(result, Exception):
            self._part_failed(choice, part, result)
            return
        if part.trial is None:
            assert result.voice is not None
            choice.points[part.index] = result.voice
            if len(choice.points) == len(choice.deciding):
                self._open_soon(choice)
            return
        choice.tried.setdefault(part.trial, {})[part.index] = result
        self._compare_if_all_are_there(choice)

    def _open_soon(self, choice: Choice) -> None:
        try:
            self._pool.submit(self._safely, choice, partial(self._open, choice))
        except RuntimeError as error:  # it is closed, and the device's thread is at its last batch
            raise DrainingError("the server is stopping and chooses no more domains") from error

    def words_decoded(self, job: Job) -> None:
        """Compare for a hint, if its request's own words were all that was missing."""
        for choice in job.choices:
            if isinstance(choice, Choice) and choice.hint and choice.tried and not choice.settled:
                self._safely(choice, partial(self._compare_if_all_are_there, choice))

    def _part_failed(self, choice: Choice, part: Part, error: Exception) -> None:
        if choice.hint or part.trial in (None, BASE) or isinstance(error, DeadlineError):
            self._failed(choice, error)
        else:
            logger.warning("%s is not considered: %s", part.trial, error)
            choice.failed.add(part.trial)
            self._compare_if_all_are_there(choice)

    def _safely(self, choice: Choice, work: Callable[[], None]) -> None:
        """Work on a choice. An error ends it, never the thread, and its request is answered all the same."""
        try:
            work()
        except Exception as error:
            if not isinstance(error, SsvdError):
                logger.exception("a choice of a domain failed")
            self._failed(choice, error)

    def _failed(self, choice: Choice, error: Exception) -> None:
        """Answer the request with the error, or without a hint."""
        if not choice.hint:
            choice.job.fail(error)
            return
        logger.warning("no hint: %s", error)
        try:
            self._settle(choice)
        except Exception as unanswerable:
            logger.exception("a request cannot be answered")
            choice.job.fail(unanswerable)

    def _open(self, choice: Choice) -> None:
        """Rank the candidates; decode in the sure one, or try the best."""
        if choice.job.future.done():
            return
        self._check_time(choice.job)
        choice.candidates = self._candidates.of(choice.wish)
        seconds = [min(HEARD_S, len(part.piece.wave) / SAMPLE_RATE) for part in choice.deciding]
        points = np.stack([choice.points[part.index] for part in choice.deciding])
        choice.likely = posteriors(choice.candidates, points, seconds)
        wanted = self._wanted(choice)
        for candidate in wanted:
            self._lease(choice, candidate)
            if choice.job.future.done():
                return
            self._check_time(choice.job)
        if not choice.leases and choice.hint:
            self._settle(choice)
            return
        if not choice.leases:
            choice.leases[BASE] = None
        if len(choice.leases) == 1 and not choice.hint:
            self._decide(choice, next(iter(choice.leases)))
            return
        self._enqueue(
            choice.job,
            [
                Part(choice.job, part.index, replace(part.piece, lease=lease), choice, name)
                for name, lease in choice.leases.items()
                for part in choice.deciding
            ],
        )

    def _wanted(self, choice: Choice) -> list[Candidate]:
        """Return the candidates to try, one if it is sure; none if there is nothing to hint at."""
        ranked = sorted(choice.candidates, key=lambda each: -choice.likeness(each.name))
        base = next(each for each in ranked if each.name == BASE)
        best = ranked[0]
        is_known = best.name in choice.likely
        if choice.hint:
            own = choice.job.lease.name if choice.job.lease is not None else BASE
            return [best] if is_known and best.name != own and self._is_at_hand(best) else []
        if choice.wish.mode == "fast":
            return [best if is_known else base]
        if is_known and choice.likely[best.name] >= self.options.sure:
            return [best]
        return [base, *(each for each in ranked if each is not base)][: self.options.decode + 1]

    def _is_at_hand(self, candidate: Candidate) -> bool:
        """Return whether a candidate is in memory. A hint waits for no file: the next one may have it."""
        version = candidate.version
        if version is None or self._domains.at_hand(version.pinned):
            return True
        self._domains.bank.preload(version)
        return False

    def _lease(self, choice: Choice, candidate: Candidate) -> None:
        """Hold a candidate until the choice is made; leave it out if it cannot be loaded."""
        if candidate.version is None:
            choice.leases[BASE] = None
            return
        try:
            lease = self._domains.lease(candidate.version.pinned)
        except SsvdError as error:
            note = f"Domain {candidate.name} could not be considered: {error}"
            if choice.hint:
                logger.info("no hint: %s", error)
            elif note not in choice.job.notes:  # of another piece
                choice.job.notes.append(note)
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
        if not scores:  # words with the base's own times say nothing of how probable they are
            left = [name for name in choice.leases if name not in choice.failed]
            self._decide(choice, max(left, key=choice.likeness))
            return
        best = max(scores, key=lambda name: scores[name])
        lead = scores[best] - scores.get(BASE, float("-inf"))
        self._decide(choice, BASE if BASE in choice.leases and lead <= self.options.margin else best)

    def _tell_hint(self, choice: Choice, scores: dict[str, float]) -> None:
        """Say which candidate the words are clearly more probable in, once the named domain's are there."""
        decoded = choice.job.decoded
        if any(part.index not in decoded for part in choice.deciding):
            return  # `words_decoded` comes back
        own = nats_a_token((decoded[part.index] for part in choice.deciding), self.options.ctc_weight)
        if own is not None and scores:
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
        choice.release_all_but(None)
        self._finish(choice.job)

    def _decide(self, choice: Choice, name: str) -> None:
        """Take over a trial's words, and queue the other pieces in the domain."""
        job, lease = choice.job, choice.leases[name]
        choice.settled = True
        choice.release_all_but(lease)
        job.chosen.append(chosen_of(choice, lease, self.options))
        job.tell_choice(
            lease,
            sum(len(each.piece.wave) for each in (*choice.deciding, *choice.rest)),
            choice.deciding[0].index,
        )
        tried = choice.tried.get(name, {})
        to_do = [part for part in choice.deciding if part.index not in tried] + list(choice.rest)
        for index, decoded in tried.items():
            job.take(index, decoded)
        if to_do:
            self._enqueue(job, [Part(job, part.index, replace(part.piece, lease=lease)) for part in to_do])
        self._finish(job)
