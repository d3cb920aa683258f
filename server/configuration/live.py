"""Settings of live sessions."""

from __future__ import annotations

from pydantic import BaseModel, Field


class LiveSettings(BaseModel):
    """Their number, turns and silences."""

    realtime_max_sessions: int = Field(
        default=64,
        ge=0,
        description="Live sessions open at the same time; more are closed with 1013 (sessions).",
    )
    realtime_max_turn_s: float = Field(
        default=60.0,
        gt=0,
        description="Longest turn of a live session: then it ends, or a client that commits itself gets an "
        "error (seconds).",
    )
    realtime_step_s: float = Field(
        default=0.8,
        gt=0,
        description="While one speaks, the turn so far is decoded again when so much of it is new (seconds).",
    )
    realtime_idle_s: float = Field(
        default=300.0,
        gt=0,
        description="A live session in which nothing comes for so long is closed (seconds).",
    )
