"""Settings of what is served, and where."""

from __future__ import annotations

import re

from pydantic import BaseModel, Field, field_validator

from server.aliases import read_aliases
from server.configuration.lists import listed

# As browsers send it: a scheme, a host, and a port if it is not the scheme's own.
_ORIGIN = re.compile(r"(?!https:.*:443$|http:.*:80$)https?://([a-z0-9.-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?")


class ServingSettings(BaseModel):
    """The base, the address, and names that clients may use."""

    base: str = Field(
        default="owsm-nano",
        description="Base model: `owsm-nano`, a hub tag as `openai/whisper-base`, or a path (name).",
    )
    device: str = Field(
        default="auto", description="Where it runs: `auto`, `cpu`, `cuda` or `cuda:<index>` (name)."
    )
    dtype: str = Field(default="auto", description="Number format: `auto`, `float32` or `bfloat16` (name).")
    language: str = Field(
        default="eng",
        description="Language of requests that name none: ISO 639-1 or 639-3, as the base has it (code).",
    )
    host: str = Field(default="127.0.0.1", description="Address to listen on (IP address or host name).")
    port: int = Field(
        default=8000, ge=0, le=65_535, description="Port to listen on; 0 takes a free one (TCP port)."
    )
    ui: bool | None = Field(
        default=None,
        description="Whether the demo page is served under /ui; empty means where the extra `ui` is "
        "installed (true or false).",
    )
    cors_origins: str | None = Field(
        default=None,
        description="Origins whose pages may call the API from a browser, with commas between them; "
        "`*` allows all, empty none (`https://` and a host name).",
    )
    model_aliases: str | None = Field(
        default=None,
        description="Other names of models, for clients that send a fixed one, with commas between them: "
        "`whisper-1=owsm-nano, gpt-4o-transcribe=owsm-nano:auto` (name=model).",
    )

    @field_validator("model_aliases")
    @classmethod
    def _aliases_are_pairs(cls, value: str | None) -> str | None:
        read_aliases(listed(value))
        return value

    @field_validator("cors_origins")
    @classmethod
    def _origins_are_origins(cls, value: str | None) -> str | None:
        for origin in listed(value):
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"{origin!r} is no origin: use https://name or https://name:port, in lower case and "
                    "without a path"
                )
        return value

    @property
    def allowed_origins(self) -> tuple[str, ...]:
        """Origins whose pages may call the API."""
        return listed(self.cors_origins)

    @property
    def aliases(self) -> dict[str, str]:
        """The models of the other names."""
        return read_aliases(listed(self.model_aliases))
