"""Clips of real people for benchmarks of Whisper: test sets that the recipes of Debian packages wrote.

The sets lie under one folder: `fillets-nl`, `asterisk`, `tuxpaint-ru`, ... Each is of one language.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ssvd_asr.audio.read import DEFAULT_LIMITS
from ssvd_asr.base.whisper.languages import ISO_639_3
from ssvd_asr.base.window import FloatArray
from ssvd_asr.manifests.audio import read_utterance
from ssvd_asr.manifests.read import read_entries
from ssvd_asr.manifests.utterances import Utterance

ENGLISH = ("asterisk", "librivox")  # sets whose names say no language


@dataclass(frozen=True)
class Clip:
    """An utterance of a set; `code` is Whisper's of its language, "nl"."""

    of: str
    code: str
    utterance: Utterance

    @property
    def language(self) -> str:
        """The language as our bases name it, "<nld>"."""
        return f"<{ISO_639_3[self.code]}>"

    def wave(self) -> FloatArray:
        """Return the samples at 16 kHz."""
        return read_utterance(self.utterance, DEFAULT_LIMITS)


def add_base_and_sets(parser: argparse.ArgumentParser) -> None:
    """Add the options that name a Whisper and the folder of the sets."""
    parser.add_argument(
        "--base", type=Path, required=True, help="folder of a Whisper, as transformers wrote it"
    )
    parser.add_argument("--data", type=Path, default=Path("data/real"), help="folder of the sets")


def clips_of(data: Path, sets: Sequence[str], most: int | None = None) -> list[Clip]:
    """Return the clips of the sets' test.jsonl, or about `most` of each set, spread over it evenly.

    Raises SystemExit for an entry that cannot be used.
    """
    found: list[Clip] = []
    for name in sets:
        clips = list(_read(data, name))
        found += clips if most is None else clips[:: max(1, round(len(clips) / most))][:most]
    return found


def _read(data: Path, name: str) -> Iterator[Clip]:
    for entry in read_entries(data / name / "test.jsonl"):
        if not isinstance(entry, Utterance):
            raise SystemExit(f"{name}: {entry}: every utterance must be usable")
        code = "en" if name in ENGLISH else name.split("-")[1].split("_")[0]
        yield Clip(name, code, entry)
