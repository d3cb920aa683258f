"""Settings of how words and their times are found."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from ssvd_asr.decoding.options import (
    KEYWORD_NATS,
    KEYWORD_NATS_WITHOUT_CTC,
    MAX_BEAM_SIZE,
    MAX_KEYWORD_NATS,
    DecodingOptions,
    Method,
)


class DecodingSettings(BaseModel):
    """The search."""

    search: Method | None = Field(
        default=DecodingOptions.method,
        description="How words are found: `checked` (greedy, and a beam search for rows that CTC doubts), "
        "`beam`, `greedy` or `ctc`, CTC's best path without a decoder. Default: `checked`, or `ctc` for a "
        "base without a decoder (name).",
    )
    beam_size: int = Field(
        default=DecodingOptions.beam_size,
        ge=1,
        le=MAX_BEAM_SIZE,
        description="Hypotheses of a row that a beam search follows (hypotheses).",
    )
    ctc_weight: float = Field(
        default=DecodingOptions.ctc_weight,
        ge=0,
        lt=1,
        description="Weight of the CTC score in a beam search; the decoder has the rest (share of 1).",
    )
    doubt_nats: float = Field(
        default=DecodingOptions.doubt_nats,
        ge=0,
        description="`checked` decodes a row again if CTC's best path is more probable than its words by "
        "more than this (nats).",
    )
    keyword_nats: float | None = Field(
        default=DecodingOptions.keyword_nats,
        ge=0,
        le=MAX_KEYWORD_NATS,
        description="Bonus in a beam search for each piece of a request's keywords; more finds more of them, "
        f"and says more that were not spoken. By default {KEYWORD_NATS:g}, and {KEYWORD_NATS_WITHOUT_CTC:g} "
        "where CTC has no say (nats).",
    )
    times: Literal["aligned", "base"] = Field(
        default="aligned",
        description="Where times of segments come from: `aligned` to the words, or `base`: the base says its "
        "own, which may change its words (name).",
    )

    @property
    def decoding(self) -> DecodingOptions:
        """How words are found."""
        return DecodingOptions(
            self.search, self.beam_size, self.ctc_weight, self.doubt_nats, self.keyword_nats
        )
