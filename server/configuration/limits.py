"""Settings that bound one request and what waits."""

from __future__ import annotations

import re
from typing import Self

from pydantic import BaseModel, Field, model_validator

from server.configuration.names import variable_of
from ssvd_asr.audio.read import AudioLimits

_LIMITS = AudioLimits()
_SETTING_OF_LIMIT = {"max_bytes": "max_upload_bytes"}  # of those with another name


class LimitSettings(BaseModel):
    """Sizes and lengths of uploads, and of the queue."""

    max_upload_bytes: int = Field(
        default=25 * 2**20, gt=0, description="Largest request body; more is 413 (bytes)."
    )
    max_duration_s: float = Field(
        default=600.0, gt=0, description="Longest audio of one request; more is 422 (seconds)."
    )
    max_channels: int = Field(
        default=_LIMITS.max_channels, gt=0, description="Most channels of an upload; more is 422 (channels)."
    )
    max_source_rate_hz: int = Field(
        default=_LIMITS.max_source_rate_hz,
        gt=0,
        description="Highest sampling rate of an upload; more is 422 (Hz).",
    )
    max_decoders: int = Field(
        default=4,
        ge=2,
        description="Uploads that are decoded to samples at the same time; one place is for uploads smaller "
        "than all others (uploads).",
    )
    decoders_max_bytes: int = Field(
        default=512 * 2**20,
        gt=0,
        description="Memory of uploads that are being decoded, by what their bytes may hold; an eighth is "
        "for uploads smaller than all others (bytes).",
    )
    max_prompt_chars: int = Field(
        default=1000, ge=0, description="Longest `prompt` of a request; more is 422 (characters)."
    )
    queue_max_audio_s: float = Field(
        default=3600.0,
        gt=0,
        description="Audio that may wait for the device, before padding; more is 429 (seconds of audio).",
    )

    @model_validator(mode="after")
    def _the_longest_request_fits_the_queue(self) -> Self:
        if self.queue_max_audio_s < self.max_duration_s:
            raise ValueError(
                f"queue_max_audio_s={self.queue_max_audio_s:g} is less than max_duration_s="
                f"{self.max_duration_s:g}: a request of that length could never be accepted"
            )
        return self

    @property
    def audio_limits(self) -> AudioLimits:
        """Limits on decoding one upload."""
        return AudioLimits(
            max_duration_s=self.max_duration_s,
            max_bytes=self.max_upload_bytes,  # as _SETTING_OF_LIMIT says
            max_channels=self.max_channels,
            max_source_rate_hz=self.max_source_rate_hz,
        )


def with_settings_named(message: str) -> str:
    """Return the message of an AudioLimitError with the variable of the setting in place of the limit's name.

    A limit that no setting changes keeps its name.
    """

    def variable(limit: re.Match[str]) -> str:
        name = _SETTING_OF_LIMIT.get(limit[1], limit[1])
        return f"({variable_of(name)})" if name in LimitSettings.model_fields else limit[0]

    return re.sub(r"\((m(?:ax|in)_\w+)\)", variable, message)
