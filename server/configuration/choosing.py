"""Settings of domains that the server chooses or hints at."""

from __future__ import annotations

from pydantic import BaseModel, Field

from server.auto_options import AutoOptions, Hints


class ChoosingSettings(BaseModel):
    """`domain=auto`, and warnings of a domain that suits better."""

    auto_decode: int = Field(
        default=AutoOptions.decode,
        ge=1,
        le=16,
        description="`domain=auto` decodes a recording's beginning in the base and in so many domains, those "
        "whose voices it is most like (domains).",
    )
    auto_sure: float = Field(
        default=AutoOptions.sure,
        gt=0,
        description="It decodes in one alone if that is the most like with this probability; above 1 never "
        "(share of 1).",
    )
    auto_margin: float = Field(
        default=AutoOptions.margin,
        ge=0,
        description="A domain has to find its words so much more probable than the base does its own (nats a "
        "token).",
    )
    auto_ctc_weight: float = Field(
        default=AutoOptions.ctc_weight,
        ge=0,
        description="What CTC's score counts beside the decoder's when transcripts are compared (factor).",
    )
    auto_heard_s: float = Field(
        default=AutoOptions.heard_s,
        gt=0,
        description="How much audio decides for a recording, from its beginning (seconds).",
    )
    auto_per_piece: bool = Field(
        default=AutoOptions.per_piece,
        description="Whether each piece of a recording gets a domain of its own, for several speakers "
        "(true or false).",
    )
    hints: Hints = Field(
        default="verbose_json",
        description="Which replies warn of a domain that suits the recording clearly better than the "
        "one asked for: `verbose_json`, `always` or `never`. It may take a second decoding (name).",
    )

    @property
    def auto(self) -> AutoOptions:
        """How `domain=auto` chooses."""
        return AutoOptions(
            self.auto_decode, self.auto_sure, self.auto_margin, self.auto_ctc_weight,
            self.auto_heard_s, self.auto_per_piece,
        )  # fmt: skip

    def hints_for(self, response_format: str) -> bool:
        """Return whether replies of a format warn of a domain that suits better."""
        return self.hints == "always" or self.hints == response_format
