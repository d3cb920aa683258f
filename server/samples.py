"""Clips to try a built-in domain with, as the UI offers them.

adapters_store/builtin/<domain>/samples/*.opus     short clips (or .ogg, .flac, .wav, .mp3)
adapters_store/builtin/<domain>/samples/*.jsonl    manifests with the words: {"audio": "x.opus", "text": ...}
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

MEDIA_TYPES = {
    ".opus": "audio/ogg",
    ".ogg": "audio/ogg",
    ".flac": "audio/flac",
    ".wav": "audio/wav",
    ".mp3": "audio/mpeg",
}
MAX_SAMPLES = 12  # of a domain: a menu, not a corpus


@dataclass(frozen=True)
class Sample:
    """One clip."""

    id: str
    text: str | None  # what is said, where a manifest tells
    path: Path
    media_type: str


class Samples:
    """The clips below a folder of built-in domains. They ship with the package: read once each."""

    def __init__(self, builtin: Path) -> None:
        self._builtin = builtin
        self._found: dict[str, tuple[Sample, ...]] = {}

    def of(self, domain: str) -> tuple[Sample, ...]:
        """The clips of a domain that the store has, in the order of their names; often none."""
        if domain not in self._found:
            self._found[domain] = _read(self._builtin / domain / "samples")
        return self._found[domain]


def _read(folder: Path) -> tuple[Sample, ...]:
    clips = sorted(path for path in folder.glob("*") if path.suffix in MEDIA_TYPES) if folder.is_dir() else []
    words: dict[str, str] = {}
    for manifest in sorted(folder.glob("*.jsonl")) if clips else ():
        for line in manifest.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            words[entry["audio"]] = entry["text"]
    return tuple(
        Sample(clip.stem, words.get(clip.name), clip, MEDIA_TYPES[clip.suffix])
        for clip in clips[:MAX_SAMPLES]
    )
