"""Engine: one queue for requests of all domains, and one thread that decodes them in mixed batches.

HTTP and the command line both call `submit`. It leases the domain, cuts the audio into pieces of at most a
window and queues them. The device thread takes batches from the queue, mounts their domains in slots and
decodes them together. A reply is complete when its last piece is decoded.
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future, wait
from dataclasses import replace
from pathlib import Path

from server.auto.candidates import Candidates
from server.auto.wish import AutoWish
from server.auto_options import AutoOptions
from server.domains import Domains
from server.engine.admission import Admission
from server.engine.batches import Batches
from server.engine.choosing import Chooser
from server.engine.cutting import Cut, audio_s_of, parts_of
from server.engine.errands import Errands
from server.engine.jobs import Job, Part
from server.engine.messages import Decoded, Reply, Request
from server.engine.queue import Scheduler
from server.engine.recogniser import Recogniser
from server.engine.replying import reply_to
from server.engine.segments import speech_of
from server.errors import (
    DEVICE_ENDED,
    STOPPED,
    DeadlineError,
    DrainingError,
    late,
)
from server.tally import QUEUE_SECONDS
from ssvd_asr.adapter.read import read_bounded
from ssvd_asr.audio.segment import find_spans
from ssvd_asr.base.prompt import IDENTIFIED
from ssvd_asr.languages import supported_language

logger = logging.getLogger(__name__)


class Engine:
    """Decodes requests on its own thread. Thread-safe. The constructor starts it, `close` ends it."""

    def __init__(
        self,
        recogniser: Recogniser,
        domains: Domains,
        *,
        queue_max_audio_s: float,
        batch_max_audio_s: float,
        request_timeout_s: float,
        cut: Cut = find_spans,
        auto: AutoOptions | None = None,
    ) -> None:
        """See the settings of these names. `cut` returns the spans of a wave to decode, see find_spans."""
        self.recogniser = recogniser
        self.domains = domains
        self.request_timeout_s = request_timeout_s
        self.tally = domains.bank.tally
        self._cut_wave = cut
        self._queue: Scheduler[Part] = Scheduler(queue_max_audio_s)
        self._batches = Batches(recogniser, domains.bank, max_audio_s=batch_max_audio_s)
        self._admission = Admission(self._queue, self._batches, recogniser)
        candidates = Candidates(domains.store, recogniser.name, recogniser.digest, recogniser.voice_probe)
        self._chooser = Chooser(
            domains, candidates, auto or AutoOptions(), self._admission.add, self._finish, self._check_time
        )
        self._errands = Errands(self._queue.wake)
        self._draining = False
        self._unfinished: set[Job] = set()
        self._thread = threading.Thread(target=self._run, name="ssvd-device", daemon=True)
        self._thread.start()

    @property
    def auto_options(self) -> AutoOptions:
        """How domains are chosen from now on."""
        return self._chooser.options

    @auto_options.setter
    def auto_options(self, options: AutoOptions) -> None:
        self._chooser.options = options

    @property
    def ready(self) -> bool:
        """Whether `submit` takes work."""
        return self.alive and not self._draining

    @property
    def alive(self) -> bool:
        """Whether the device's thread lives. It is not restarted: a dead one needs a new process."""
        return self._thread.is_alive()

    @property
    def idle(self) -> bool:
        """Whether every accepted request has been answered, failed or cancelled."""
        return not self._unfinished

    @property
    def waiting_s(self) -> float:
        """Seconds of audio in the queue."""
        return self._queue.waiting_s

    @property
    def unfinished(self) -> int:
        """How many accepted requests are not answered yet."""
        return len(self._unfinished)

    @property
    def speed(self) -> float:
        """Padded seconds of audio that the device decodes a second, as lately measured."""
        return self._batches.speed

    def submit(self, request: Request) -> Future[Reply]:
        """Lease the domain of a request, or begin to choose one, cut its audio and queue the pieces.

        Do not call it on an event loop: it takes milliseconds for each minute of audio, and longer where it
        has to load the domain.

        `cancel()` on the future works until the reply is there. Pieces not decoded by then are skipped. The
        future raises DeadlineError if the request's time is over before its last piece is begun.

        Raises:
            UnknownDomainError, AdapterError, BlendError, BankFullError, LoaderError: see Domains.lease.
            LanguageError: the base does not have the language.
            KeywordError: see Recogniser.check_keywords.
            QueueFullError: too much audio waits. The error says when to retry.
            DrainingError: `drain` or `close` was called, or the device's thread has ended.
        """
        if not self.ready:
            raise DrainingError("the server is stopping and takes no new requests")
        left_to_the_base = request.language == IDENTIFIED and self.recogniser.identifies_language
        named = (*request.languages, *(() if left_to_the_base else (request.language,)))
        for language in named:
            supported_language(language, self.recogniser.languages, f"base {self.recogniser.name}")
        self.recogniser.check_keywords(request.keywords)
        deadline_s = time.monotonic() + self.request_timeout_s
        if request.auto is not None:
            wish = replace(request.auto, hidden=request.hidden)
            request = replace(request, auto=wish)
            self._chooser.check(wish)
        lease = None if request.domain is None else self.domains.lease(request.domain, request.hidden)
        job = Job(request, lease, deadline_s)
        self._unfinished.add(job)
        job.future.add_done_callback(lambda _: self._leave(job))
        try:
            if request.timestamps:
                job.speech = speech_of(request.wave)
            parts = parts_of(job, self.recogniser, self._cut_wave)
            job.pieces_left = job.pieces = len(parts)
            job.tell_progress()
            if not parts:  # no speech
                self._finish(job)
            elif request.auto is not None:
                listening = self._chooser.begin(job, parts, request.auto)
                later_s = audio_s_of(parts) - audio_s_of(listening)
                self._admission.admit(job, listening, self.request_timeout_s, later_s)
            else:
                wish = AutoWish(hidden=request.hidden)
                hinting = self._chooser.begin(job, parts, wish, hint=True) if request.hint else []
                self._admission.admit(job, [*hinting, *parts], self.request_timeout_s)
        except BaseException:
            job.future.cancel()
            raise
        return job.future

    def check_adapter(self, file: Path) -> None:
        """Check an adapter file that is to be published: whether this base can serve it, and its canary.

        The canary runs on the device's thread, between two batches, with the base that serves. Do not call it
        on an event loop.

        Raises:
            AdapterError: the file is no adapter, for another base or too large, or its canary fails.
            DeadlineError: the device had no time for it within the limit of a request.
            OutOfMemoryError: the device's memory has no room for the canary.
            DrainingError: `drain` or `close` was called, or the device's thread has ended.
        """
        checked = self.recogniser.check_adapter(read_bounded(file))
        self.domains.bank.check_fits(checked.packed)
        if not self.ready:
            raise DrainingError("the server is stopping and takes no new requests")
        self._errands.do(checked.canary, self.request_timeout_s)

    def drain(self) -> None:
        """Take no new requests. Accepted requests are still decoded."""
        self._draining = True

    def give_up(self) -> None:
        """Drain, and fail the accepted requests that are not answered yet, also those on the device."""
        self.drain()
        self._queue.close()  # before _give_up: requests still being cut must not enter it
        self._give_up(STOPPED)

    def close(self, timeout_s: float) -> None:
        """Drain, wait at most `timeout_s` for accepted requests, fail the rest and end the threads."""
        self.drain()
        until_s = time.monotonic() + timeout_s
        if self.alive:  # a choice of a domain queues further pieces, so the queue is closed after it
            undecided = [job.future for job in list(self._unfinished) if job.undecided]
            wait(undecided, timeout_s)
        self._queue.close()
        self._thread.join(max(0.0, until_s - time.monotonic()))
        self._chooser.close()
        self.give_up()
        self.domains.bank.close()

    def _leave(self, job: Job) -> None:
        """Release what a request holds, however it ended."""
        self._unfinished.discard(job)
        job.claim()  # a cancelled job gets no answer; this notifies `concurrent.futures.wait`
        job.release()
        if job.pieces_left or job.undecided:
            self._queue.discard(job)

    def _run(self) -> None:
        """Decode batches until the queue is closed and drained. Runs on the device thread."""
        try:
            while True:
                self._errands.run()
                parts = self._queue.take(
                    self._batches.budget_s, self._batches.max_domains, lambda: bool(self._errands)
                )
                if not parts:
                    if self._errands:
                        continue
                    break
                wanted = [part for part in parts if self._in_time(part)]
                now_s = time.monotonic()
                for part in wanted:
                    self.tally.add(QUEUE_SECONDS, now_s - part.queued_s)
                    part.job.begin(part.queued_s, now_s)
                results = self._batches.run([part.piece for part in wanted])
                for job in {part.job for part in wanted}:
                    job.note_batch(time.monotonic() - now_s)
                for part, result in zip(wanted, results, strict=True):
                    self._note(part, result)
        except BaseException:  # logged here: `threading` ignores SystemExit
            logger.critical("the device's thread has ended, nothing more is decoded", exc_info=True)
            self.drain()
            self._queue.close()  # as in give_up
            self._give_up(DEVICE_ENDED)

    def _check_time(self, job: Job) -> None:
        if time.monotonic() >= job.deadline_s:
            raise late(self.request_timeout_s)

    def _in_time(self, part: Part) -> bool:
        """Return whether a part is still wanted. Answer its job if its time is over."""
        if part.job.future.done() or (part.choice is not None and part.choice.settled):
            return False
        try:
            self._check_time(part.job)
        except DeadlineError as error:
            self._note(part, error)
            return False
        return True

    def _note(self, part: Part, result: Decoded | Exception) -> None:
        job = part.job
        if part.choice is not None:
            self._chooser.note(part, result)
            return
        if isinstance(result, Exception):
            job.fail(result)
            return
        job.take(part.index, result)
        self._chooser.words_decoded(job)
        self._finish(job)

    def _finish(self, job: Job) -> None:
        """Answer a job that has nothing left to do."""
        if job.pieces_left or job.undecided:
            return
        job.answer(reply_to(job, self.recogniser.name, self.recogniser.digest))

    def _give_up(self, why: str) -> None:
        """Fail every request, including those on the device. The queue must be closed."""
        self._queue.clear()
        self._errands.close(DrainingError(why))
        for job in list(self._unfinished):
            job.fail(DrainingError(why))
