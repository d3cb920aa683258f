"""Form field `chunking_strategy`: how a request's audio is cut at silences."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from ssvd_asr.audio.segment import CutRule

FIELD = "chunking_strategy"
_AUTO = CutRule()


class ServerVad(BaseModel):
    """OpenAI's `server_vad` object. Forms send its members as `chunking_strategy[type]` and so on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["server_vad"]
    threshold: float = Field(
        default=_AUTO.speech_probability,
        gt=0,
        lt=1,
        description="Probability from which a frame counts as speech.",
    )
    prefix_padding_ms: float = Field(
        default=_AUTO.before_s * 1000,
        ge=0,
        le=10_000,
        description="Audio kept before a piece's first speech (milliseconds).",
    )
    silence_duration_ms: float = Field(
        default=_AUTO.silence_s * 1000,
        ge=0,
        le=600_000,
        description="Silence that ends a piece (milliseconds).",
    )

    @property
    def rule(self) -> CutRule:
        """These values as a CutRule."""
        return CutRule(
            speech_probability=self.threshold,
            before_s=self.prefix_padding_ms / 1000,
            silence_s=self.silence_duration_ms / 1000,
        )


def member_of(key: str) -> str | None:
    """Return the name in the brackets of "chunking_strategy[name]", or None for any other key."""
    if key.startswith(f"{FIELD}[") and key.endswith("]"):
        return key[len(FIELD) + 1 : -1]
    return None
