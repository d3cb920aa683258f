"""Decoder of recordings by their spans, as the server decodes them, and of clips one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from recipes.espeak.joined import FloatArray, Recording
from ssvd_asr.adapted_model import AdaptedModel
from ssvd_asr.audio.read import SAMPLE_RATE
from ssvd_asr.audio.segment import Span
from ssvd_asr.base.model import BaseModel
from ssvd_asr.decoding.align import shifted, text_of
from ssvd_asr.decoding.options import DecodingOptions
from ssvd_asr.decoding.overlap import Heard, own_words
from ssvd_asr.transcription import Transcript, transcribe
from ssvd_asr.writing import joined_texts

BATCH = 16


@dataclass(frozen=True)
class Decoder:
    """A base with one domain's cores, and how it searches."""

    base: BaseModel
    adapted: AdaptedModel
    cores: Mapping[str, torch.Tensor] | None
    options: DecodingOptions

    def texts(self, waves: Sequence[FloatArray]) -> list[str]:
        """Decode waves, each on its own."""
        return [found.text for found in self._transcripts(waves, [False] * len(waves))]

    def recording_texts(self, recordings: Sequence[Recording], spans: Sequence[Sequence[Span]]) -> list[str]:
        """Decode recordings by the spans of each, and join their words as the server does."""
        cuts = [
            (recording, span) for recording, found in zip(recordings, spans, strict=True) for span in found
        ]
        waves = [each.wave[span.start - span.before : span.stop + span.after] for each, span in cuts]
        transcripts = iter(self._transcripts(waves, [bool(span.before or span.after) for _, span in cuts]))
        return [_joined([(span, next(transcripts)) for span in found]) for found in spans]

    def _transcripts(self, waves: Sequence[FloatArray], timed: Sequence[bool]) -> list[Transcript]:
        order = sorted(range(len(waves)), key=lambda index: -len(waves[index]))
        found: dict[int, Transcript] = {}
        for first in range(0, len(order), BATCH):
            rows = order[first : first + BATCH]
            transcripts = transcribe(
                self.base,
                [waves[row] for row in rows],
                adapted=self.adapted,
                cores=self.cores,
                options=self.options,
                word_times=[timed[row] for row in rows],
                overlaps=[timed[row] for row in rows],
            )
            found |= zip(rows, transcripts, strict=True)
        return [found[index] for index in range(len(waves))]


def _joined(pieces: Sequence[tuple[Span, Transcript]]) -> str:
    """The text of a recording: of pieces that overlap, each one's own words."""
    heard = [
        Heard(
            shifted(transcript.words, (span.start - span.before) / SAMPLE_RATE),
            span.start / SAMPLE_RATE if span.before else None,
            span.stop / SAMPLE_RATE if span.after else None,
            None
            if transcript.ctc is None
            else transcript.ctc.shifted((span.start - span.before) / SAMPLE_RATE),
        )
        for span, transcript in pieces
    ]
    texts = [
        text_of(words) if span.before or span.after else transcript.text
        for (span, transcript), words in zip(pieces, own_words(heard), strict=True)
    ]
    return joined_texts(texts)
