"""Settings of who may call the server."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

Auth = Literal["auto", "on", "off"]


class AccessSettings(BaseModel):
    """Keys, and what is open without one."""

    auth: Auth = Field(
        default="auto",
        description="Who needs a key: `on` everyone; `auto` everyone, unless only this machine reaches the "
        "address and there is no file of keys; `off` nobody (name).",
    )
    keys: Path | None = Field(
        default=None, description="File of keys, as `ssvd keys` writes it; empty means the user's own (path)."
    )
    metrics_public: bool = Field(
        default=False,
        description="Whether /metrics, which names all domains, needs no admin's key where keys are asked "
        "for (true or false).",
    )
