"""Settings of the work of the device."""

from __future__ import annotations

from pydantic import BaseModel, Field


class DeviceSettings(BaseModel):
    """Batches, waiting and threads."""

    batch_max_audio_s: float = Field(
        default=240.0,
        gt=0,
        description="Audio decoded together, every row counted as the window it is padded to; "
        "a GPU takes 1000 and more (seconds of audio).",
    )
    request_timeout_s: float = Field(
        default=600.0,
        gt=0,
        description="Longest a request may wait for the device; then it is 504, or 429 at once where what "
        "goes before it takes longer at the measured speed (seconds).",
    )
    threads: int = Field(
        default=0,
        ge=0,
        description="Threads of the model on a CPU; 0 takes OMP_NUM_THREADS, "
        "else one a core, within a quota (threads).",
    )
