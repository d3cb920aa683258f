"""Cutting of a request's audio into the pieces that are queued and decoded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from server.engine.jobs import Job, Part
from server.engine.messages import Piece
from server.engine.recogniser import Recogniser
from ssvd_asr.audio.read import SAMPLE_RATE
from ssvd_asr.audio.segment import AUTO, CutRule, FloatArray, Span
from ssvd_asr.base.prompt import RECOGNITION


class Cut(Protocol):
    """Where a wave is cut, see `find_spans`."""

    def __call__(
        self, wave: FloatArray, longest_samples: int, rule: CutRule, context_samples: int, *, join: bool
    ) -> Sequence[Span]: ...


def parts_of(job: Job, recogniser: Recogniser, cut: Cut) -> list[Part]:
    """Return the pieces of a job's audio, each at most a window of the base; none without speech."""
    request = job.request
    spans = cut(
        request.wave,
        recogniser.longest_piece_samples,
        request.cut_rule or AUTO,
        # Pieces that hear the same speech are told apart by their words' times, which translations lack.
        recogniser.piece_context_samples if request.task == RECOGNITION else 0,
        join=request.cut_rule is None and recogniser.bears_silences,
    )
    return [
        Part(
            job,
            index,
            Piece(
                wave=request.wave[span.start - span.before : span.stop + span.after],
                start_s=(span.start - span.before) / SAMPLE_RATE,
                lease=job.lease,
                language=request.language,
                timestamps=request.timestamps,
                # Pieces are decoded in parallel, so the text before is known for the first only.
                previous_text=None if index else request.previous_text,
                own_from_s=span.start / SAMPLE_RATE if span.before else None,
                own_to_s=span.stop / SAMPLE_RATE if span.after else None,
                task=request.task,
                languages=request.languages,
                scores_tokens=request.scores_tokens,
                keywords=request.keywords,
            ),
        )
        for index, span in enumerate(spans)
    ]


def audio_s_of(parts: Sequence[Part]) -> float:
    """Return the seconds of audio of some parts."""
    return sum(len(part.piece.wave) for part in parts) / SAMPLE_RATE
