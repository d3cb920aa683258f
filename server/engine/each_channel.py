"""Transcription of each channel of a recording as a request of its own, and one reply of all of them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from itertools import groupby

from server.engine.engine import Engine
from server.engine.messages import OnProgress, Reply, Request, Timing
from ssvd_asr.audio.read import Recording
from ssvd_asr.writing import joined_texts


def submit_recording(engine: Engine, recording: Recording, request: Request) -> Future[Reply]:
    """Queue the one wave of a recording, or each of its waves, instead of the request's.

    The reply to several waves is `merged`. All of them are decoded by the same version of the domain. If one
    fails or the future is cancelled, the others are cancelled. Raises as Engine.submit does.
    """
    if not recording.apart:
        warnings = (*request.warnings, *recording.warnings[0])
        return engine.submit(replace(request, wave=recording.waves[0], warnings=warnings))
    lease = None if request.domain is None else engine.domains.lease(request.domain, request.hidden)
    try:
        # A name may be published again between two submits; the digest stays.
        pinned = None if lease is None else lease.pinned
        futures: list[Future[Reply]] = []
        try:
            notes = _shares(request.on_progress, len(recording.waves))
            for wave, found, note in zip(recording.waves, recording.warnings, notes, strict=True):
                warnings = (*request.warnings, *found)
                one = replace(
                    request, wave=wave, warnings=warnings, domain=pinned, timestamps=True, on_progress=note
                )
                futures.append(engine.submit(one))
        except BaseException:
            for future in futures:
                future.cancel()
            raise
        return _all_of(futures)
    finally:
        if lease is not None:
            lease.release()


def _shares(note: OnProgress | None, parts: int) -> list[OnProgress | None]:
    """Return for each part of a request what notes its progress: `note` is told the sums over all parts."""
    if note is None:
        return [None] * parts
    known = [(0, 0)] * parts

    def of(part: int) -> OnProgress:
        def tell(done: int, total: int) -> None:
            known[part] = done, total
            note(sum(done for done, _ in known), sum(total for _, total in known))

        return tell

    return [of(part) for part in range(parts)]


def merged(replies: Sequence[Reply]) -> Reply:
    """Return the reply to a recording from the replies to its channels, in the order of the channels.

    Segments are in order of their starts, and each says its channel. The text has a line for each run of
    segments of one channel. Where the domains were chosen, the provenance is that of the first channel, and
    warnings name each channel's domain if they differ.
    """
    segments = sorted(
        (
            replace(segment, channel=channel)
            for channel, reply in enumerate(replies)
            for segment in reply.segments
        ),
        key=lambda segment: segment.start_s,
    )
    lines = (
        joined_texts(segment.text for segment in run)
        for _, run in groupby(segments, key=lambda segment: segment.channel)
    )
    told = [_domain(reply) for reply in replies]
    if len(set(told)) == 1:
        told = [()] * len(replies)
    return replace(
        replies[0],
        text="\n".join(lines),
        segments=tuple(segments),
        decoding=tuple(
            replace(piece, channel=channel)
            for channel, reply in enumerate(replies)
            for piece in reply.decoding
        ),
        warnings=_warnings([(*reply.warnings, *said) for reply, said in zip(replies, told, strict=True)]),
        chosen=tuple(
            replace(each, channel=channel) for channel, reply in enumerate(replies) for each in reply.chosen
        ),
        channels=tuple(reply.text for reply in replies),
        timing=_whole([reply.timing for reply in replies]),
    )


def _whole(timings: Sequence[Timing | None]) -> Timing | None:
    """Return the timing of all channels. They share batches, so that of the longest counts."""
    known = [each for each in timings if each is not None]
    if not known:
        return None
    return Timing(
        queued_s=min(each.queued_s for each in known),
        begun_s=min(each.begun_s for each in known),
        decoded_s=max(each.decoded_s for each in known),
        device_s=max(each.device_s for each in known),
    )


def _domain(reply: Reply) -> tuple[str, ...]:
    """Say in which domain a channel was decoded, where the server chose it."""
    if not reply.chosen:
        return ()
    made_by = reply.provenance
    return (f"decoded in {made_by.domain or made_by.base}",)


def _warnings(found: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return what all channels say once, and the rest with the channel."""
    shared = [warning for warning in found[0] if all(warning in each for each in found)]
    return (
        *shared,
        *(
            f"Channel {channel}: {warning}"
            for channel, each in enumerate(found)
            for warning in each
            if warning not in shared
        ),
    )


def _all_of(futures: Sequence[Future[Reply]]) -> Future[Reply]:
    """Return a future of the merged reply. It can be cancelled until all replies are there."""
    whole: Future[Reply] = Future()
    claim = threading.Lock()  # taken for good by the future that answers
    left = threading.Semaphore(len(futures) - 1)

    def claimed() -> bool:
        return claim.acquire(blocking=False) and whole.set_running_or_notify_cancel()

    def one_is_done(future: Future[Reply]) -> None:
        if future.cancelled():
            return
        error = future.exception()
        if error is not None and claimed():
            whole.set_exception(error)
        elif error is None and not left.acquire(blocking=False) and claimed():
            whole.set_result(merged([each.result() for each in futures]))

    def cancel_all(_: Future[Reply]) -> None:
        claimed()  # notifies those that wait for a cancelled future
        for each in futures:
            each.cancel()  # without effect on those that are done

    whole.add_done_callback(cancel_all)
    for future in futures:
        future.add_done_callback(one_is_done)
    return whole
