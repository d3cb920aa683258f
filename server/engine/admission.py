"""Admission: which pieces come into the queue, and the refusal of a request for which it has no room."""

from __future__ import annotations

from collections.abc import Sequence

from server.engine.batches import Batches
from server.engine.jobs import Job, Part
from server.engine.queue import Scheduler, Waiting
from server.engine.recogniser import Recogniser
from server.errors import STOPPED, DrainingError, QueueFullError
from ssvd_asr.audio.read import SAMPLE_RATE
from ssvd_asr.base.voice import HEARD_S


class Admission:
    """The way into a queue. Thread-safe."""

    def __init__(self, queue: Scheduler[Part], batches: Batches, recogniser: Recogniser) -> None:
        self._queue, self._batches, self._recogniser = queue, batches, recogniser

    def admit(self, job: Job, parts: Sequence[Part], longest_wait_s: float, more_s: float = 0.0) -> None:
        """Queue the first parts of a request.

        Args:
            longest_wait_s: what goes before the request may take so long.
            more_s: seconds of audio that the request will add later, and which have to fit too.

        Raises:
            QueueFullError: too much audio waits. The error says when to retry.
            DrainingError: the queue is closed.
        """
        waiting = [self._waiting(job, part) for part in parts]
        speed = self._batches.speed
        last = waiting[-1]  # the first may be for a hint, by the base
        wait_s = self._queue.ahead_s(last.domain, last.caller) / speed
        if self._batches.measured and wait_s > longest_wait_s:
            raise QueueFullError(
                f"what goes before this takes about {wait_s:.0f} s: the limit is "
                f"{longest_wait_s:g} s (SSVD_REQUEST_TIMEOUT_S)",
                retry_after_s=wait_s,
            )
        try:
            accepted = self._queue.put(waiting, speed, more_s)
        except RuntimeError as error:
            raise DrainingError("the server is stopping and takes no new requests") from error
        if not accepted:
            waiting_s = self._queue.waiting_s
            asked_s = sum(each.audio_s for each in waiting) + more_s
            raise QueueFullError(
                f"{waiting_s:.0f} s of audio wait and {asked_s:.0f} s more do not fit: the limit is "
                f"{self._queue.max_audio_s:.0f} s (SSVD_QUEUE_MAX_AUDIO_S)",
                retry_after_s=self._queue.padded_s / speed,
            )

    def add(self, job: Job, parts: Sequence[Part]) -> None:
        """Queue further parts of a request that was admitted. Raises DrainingError if the queue is closed."""
        try:
            self._queue.put([self._waiting(job, part) for part in parts], self._batches.speed, force=True)
        except RuntimeError as error:
            raise DrainingError(STOPPED) from error

    def _waiting(self, job: Job, part: Part) -> Waiting[Part]:
        lease, audio_s = part.piece.lease, len(part.piece.wave) / SAMPLE_RATE
        row_s = self._recogniser.row_samples(len(part.piece.wave)) / SAMPLE_RATE
        return Waiting(
            item=part,
            owner=job,
            domain=None if lease is None else lease.turn,
            audio_s=0.0 if part.optional else audio_s,  # a hint takes no room from requests
            row_s=min(HEARD_S, audio_s) if part.piece.listens else row_s,
            caller=job.request.caller,
            blend=lease.sha256 if lease is not None and lease.parts else None,
        )
