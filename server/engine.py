"""The engine: one thread owns the device; requests of any domain pass through one queue.

`submit` is the only way in, for HTTP and the command line alike. It cuts the audio into pieces of at most a
window and puts them into the queue; the device thread takes pieces, BATCH of them at a time, switches the
domain's cores on and decodes. A reply is complete when its last piece is.
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field

from server.audio_queue import AudioQueue
from server.domains import Domains
from server.errors import DrainingError, LanguageError, QueueFullError
from server.messages import DomainCores, Piece, Provenance, Reply, Request, TextSegment
from server.recogniser import Decoded, Recogniser
from ssvd_asr.audio import SAMPLE_RATE
from ssvd_asr.errors import SsvdError
from ssvd_asr.segment import find_spans

logger = logging.getLogger(__name__)

BATCH = 1  # pieces taken together; the recogniser's `decode` already takes a list
FIRST_GUESS_SPEED = 5.0  # audio-seconds decoded a second, until one was measured


@dataclass(eq=False)
class _Job:
    """A request while it is worked on. Its future stays pending to the end, so that it can be cancelled."""

    request: Request
    lease: DomainCores | None
    future: Future[Reply] = field(default_factory=Future)
    pieces_left: int = 0
    decoded: list[Decoded] = field(default_factory=list)


class Engine:
    """Thread-safe. Made ready by its constructor, ended by `close`."""

    def __init__(self, recogniser: Recogniser, domains: Domains, *, queue_max_audio_s: float) -> None:
        self.recogniser = recogniser
        self.domains = domains
        self._queue: AudioQueue[tuple[_Job, Piece]] = AudioQueue(queue_max_audio_s)
        self._speed = FIRST_GUESS_SPEED
        self._draining = False
        self._unfinished: set[Future[Reply]] = set()
        self._thread = threading.Thread(target=self._run, name="ssvd-device", daemon=True)
        self._thread.start()

    @property
    def ready(self) -> bool:
        """Whether `submit` takes work."""
        return self._thread.is_alive() and not self._draining

    @property
    def idle(self) -> bool:
        """Whether every accepted request has been answered, failed or cancelled."""
        return not self._unfinished

    @property
    def waiting_s(self) -> float:
        """Seconds of audio in the queue."""
        return self._queue.waiting_s

    def submit(self, request: Request) -> Future[Reply]:
        """Cut a request, lease its domain and queue it. Takes milliseconds a minute of audio, so not for an
        event loop; longer where the domain is loaded for the first time.

        `cancel()` on the future works until the reply is there: what has not been decoded is then skipped.

        Raises:
            UnknownDomainError, AdapterError: see Domains.lease.
            LanguageError: a language that the base has not.
            QueueFullError: too much audio waits; says when to come again.
            DrainingError: `drain` or `close` was called.
        """
        if not self.ready:
            raise DrainingError("the server is stopping and takes no new requests")
        if not self.recogniser.has_language(request.language):
            raise LanguageError(f"base model {self.recogniser.name} has no language {request.language!r}")
        job = _Job(request, self.domains.lease(request.domain) if request.domain is not None else None)
        pieces = [
            Piece(
                wave=request.wave[span.start : span.stop],
                start_s=span.start / SAMPLE_RATE,
                cores=job.lease,
                language=request.language,
                timestamps=request.timestamps,
            )
            for span in find_spans(request.wave, self.recogniser.window_samples)
        ]
        job.pieces_left = len(pieces)
        self._unfinished.add(job.future)
        job.future.add_done_callback(self._unfinished.discard)
        if not pieces:  # nobody speaks
            self._finish(job)
            return job.future
        try:
            self._enqueue(job, pieces)
        except SsvdError:
            job.future.cancel()
            raise
        return job.future

    def drain(self) -> None:
        """Take no new requests; what was accepted is decoded."""
        self._draining = True

    def close(self, timeout_s: float) -> None:
        """Drain, wait for what was accepted, and end the thread; what is not done by then is failed."""
        self.drain()
        self._queue.close()
        self._thread.join(timeout_s)
        for job, _ in self._queue.clear():
            _fail(job, DrainingError(f"the server stopped before this was decoded ({timeout_s} s to drain)"))

    def _enqueue(self, job: _Job, pieces: list[Piece]) -> None:
        items = [((job, piece), len(piece.wave) / SAMPLE_RATE) for piece in pieces]
        try:
            accepted = self._queue.put(items)
        except RuntimeError as error:
            raise DrainingError("the server is stopping and takes no new requests") from error
        if not accepted:
            waiting_s = self._queue.waiting_s
            asked_s = sum(seconds for _, seconds in items)
            raise QueueFullError(
                f"{waiting_s:.0f} s of audio wait and {asked_s:.0f} s more do not fit: the limit is "
                f"{self._queue.max_audio_s:.0f} s (SSVD_QUEUE_MAX_AUDIO_S)",
                retry_after_s=waiting_s / self._speed,
            )

    def _run(self) -> None:
        """The device thread."""
        while taken := self._queue.take(BATCH):
            wanted = [(job, piece) for job, piece in taken if not job.future.done()]
            if not wanted:
                continue
            started = time.perf_counter()
            try:
                decoded = self.recogniser.decode([piece for _, piece in wanted])
            except Exception as error:  # one batch fails; the thread and everybody else go on
                logger.exception("decoding failed")
                for job, _ in wanted:
                    _fail(job, error)
                continue
            self._measure([piece for _, piece in wanted], time.perf_counter() - started)
            for (job, _), result in zip(wanted, decoded, strict=True):
                job.decoded.append(result)
                job.pieces_left -= 1
                if job.pieces_left == 0:
                    self._finish(job)

    def _measure(self, pieces: list[Piece], wall_s: float) -> None:
        audio_s = sum(len(piece.wave) for piece in pieces) / SAMPLE_RATE
        self._speed = 0.8 * self._speed + 0.2 * audio_s / max(wall_s, 1e-6)

    def _finish(self, job: _Job) -> None:
        segments: tuple[TextSegment, ...] = tuple(s for each in job.decoded for s in each.segments)
        texts = (each.text.strip() for each in job.decoded)
        reply = Reply(
            text=" ".join(text for text in texts if text),
            segments=segments,
            language=job.request.language.strip("<>"),
            duration_s=len(job.request.wave) / SAMPLE_RATE,
            provenance=self._provenance(job.lease),
        )
        if job.future.set_running_or_notify_cancel():
            job.future.set_result(reply)

    def _provenance(self, lease: DomainCores | None) -> Provenance:
        base, digest = self.recogniser.name, self.recogniser.digest
        if lease is None:
            return Provenance(base, digest)
        return Provenance(base, digest, lease.name, lease.version, lease.sha256)


def _fail(job: _Job, error: Exception) -> None:
    if not job.future.done() and job.future.set_running_or_notify_cancel():
        job.future.set_exception(error)
