"""Types for one utterance of a manifest, and for an entry that cannot be used."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Reason = Literal[
    "malformed entry",
    "duplicate id",
    "unsupported source",
    "missing file",
    "unreadable audio",
    "empty text",
    "too long for the window",
    "too short",
    "text has no tokens",
    "text outside the vocabulary",
    "text too long for the CTC",
]


@dataclass(frozen=True)
class Utterance:
    """A section of an audio file and the words spoken in it."""

    id: str
    audio: Path
    text: str
    start_s: float = 0.0
    duration_s: float | None = None  # None: to the end of the file
    speaker: str | None = None
    file_s: float | None = None  # stated length of the whole file
    channel: int | Literal["mix"] = "mix"  # its number in the file, from 0


@dataclass(frozen=True)
class Problem:
    """Why an entry of a manifest cannot be used."""

    id: str
    audio: str
    reason: Reason
    detail: str
