"""Types for one utterance of a manifest, and for an entry that cannot be used."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ssvd_asr.audio.read import OneWave

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
    "text too long for the decoder",
]


@dataclass(frozen=True)
class PackedAudio:
    """Encoded audio inside a file of many recordings (`ssvd_asr.manifests.packed`), used as a path is."""

    file: Path
    group: int  # part of the file
    row: int  # of the part
    column: str

    def __str__(self) -> str:
        return f"{self.file}[{self.group}:{self.row}]"

    def exists(self) -> bool:
        """Return whether its file exists."""
        return self.file.exists()

    def resolve(self) -> PackedAudio:
        """Return the same audio in a file without links in its path."""
        return replace(self, file=self.file.resolve())

    def stat(self) -> os.stat_result:
        """Return the status of its file."""
        return self.file.stat()


@dataclass(frozen=True)
class Utterance:
    """A section of an audio file and the words spoken in it."""

    id: str
    audio: Path | PackedAudio
    text: str
    start_s: float = 0.0
    duration_s: float | None = None  # None: to the end of the file
    speaker: str | None = None
    file_s: float | None = None  # stated length of the whole file
    channel: OneWave = "mix"  # its number in the file, from 0
    tags: tuple[str, ...] = ()  # of events, which the text had (events.py)
    doubts: tuple[str, ...] = ()  # what of the text may be wrong


@dataclass(frozen=True)
class Problem:
    """Why an entry of a manifest cannot be used."""

    id: str
    audio: str
    reason: Reason
    detail: str
