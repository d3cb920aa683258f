"""The reply to a request of which every piece is decoded."""

from __future__ import annotations

from dataclasses import replace

from server.bank.bank import Lease
from server.engine.jobs import Job
from server.engine.messages import BlendPart, Provenance, Reply, Usage
from server.engine.segments import in_order, no_speech_prob
from server.engine.spoken import spoken
from ssvd_asr.audio.read import SAMPLE_RATE
from ssvd_asr.writing import joined_texts


def reply_to(job: Job, base: str, base_digest: str) -> Reply:
    """Return the reply to a job; `base` is the name of the base that decoded it."""
    decoded = job.settled
    segments = in_order([segment for each in decoded for segment in each.segments])
    if job.speech is not None:
        segments = tuple(replace(s, no_speech_prob=no_speech_prob(job.speech, s)) for s in segments)
    decoding = tuple(each.decoding for each in decoded if each.decoding is not None)
    language, doubtful = spoken(job.request.language, decoding)
    return Reply(
        text=joined_texts(each.text for each in decoded),
        segments=segments,
        language=language.strip("<>"),
        duration_s=len(job.request.wave) / SAMPLE_RATE,
        provenance=_provenance(job.lease, base, base_digest),
        decoding=decoding,
        tokens=tuple(token for each in decoded for token in each.tokens),
        usage=sum((each.usage for each in decoded), Usage()),
        timing=job.timing,
        chosen=tuple(sorted(job.chosen, key=lambda each: each.start_s)),
        warnings=(
            *job.request.warnings,
            *job.notes,
            *doubtful,
            *(warning for each in decoded for warning in each.warnings),
        ),
    )


def _provenance(lease: Lease | None, base: str, base_digest: str) -> Provenance:
    if lease is None:
        return Provenance(base, base_digest)
    parts = tuple(
        BlendPart(part.version.name, part.version.version, part.version.sha256, part.weight)
        for part in lease.parts
    )
    return Provenance(base, base_digest, lease.name, lease.version, lease.sha256, parts)
