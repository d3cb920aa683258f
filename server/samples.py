"""Sample clips of the built-in domains, which the UI offers for a trial.

adapters_store/builtin/<domain>/samples/test.jsonl    {"audio": "x.opus", "text": ...}, not trained on
adapters_store/builtin/<domain>/samples/x.opus        or .ogg, .flac, .wav, .mp3
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
MAX_SAMPLES = 12  # per domain


@dataclass(frozen=True)
class Sample:
    """One clip. Its id is its file's stem."""

    id: str
    text: str  # what is said
    path: Path
    media_type: str


class Samples:
    """The clips in a folder of built-in domains. Each domain is read once: clips ship with the package."""

    def __init__(self, builtin: Path) -> None:
        self._builtin = builtin
        self._found: dict[str, tuple[Sample, ...]] = {}

    def of(self, domain: str) -> tuple[Sample, ...]:
        """Return the first MAX_SAMPLES clips of a domain, often none. The domain must be in the store."""
        if domain not in self._found:
            self._found[domain] = _read(self._builtin / domain / "samples")
        return self._found[domain]


def _read(folder: Path) -> tuple[Sample, ...]:
    manifest = folder / "test.jsonl"
    if not manifest.is_file():
        return ()
    entries = map(json.loads, manifest.read_text(encoding="utf-8").splitlines()[:MAX_SAMPLES])
    clips = [(folder / entry["audio"], entry["text"]) for entry in entries]
    return tuple(Sample(path.stem, text, path, MEDIA_TYPES[path.suffix]) for path, text in clips)
