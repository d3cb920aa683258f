"""Manifests for translation: the same recordings, with what they say in English as the text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from recipes.debian.clips import symbols_of
from recipes.debian.distinct import splits_of
from recipes.entries import SPLITS, Kept
from ssvd_asr.scoring import normalise

INTO = "en"


def file_of(split: str) -> str:
    """Return the name of a split's manifest for translation."""
    return f"{split}-to-{INTO}.jsonl"


def write_translations(out: Path, kept: Iterable[Kept], english: Mapping[str, str]) -> dict[str, int]:
    """Write the manifests for translation; return how many utterances each holds.

    An utterance without an English text is not in them. Nor is one whose English has no words, has symbols,
    or is also in a split that goes before (`recipes.debian.distinct.STAYS`).

    Args:
        kept: the utterances of the manifests for transcription.
        english: the English text of each utterance by its id, where there is one.
    """
    spoken = [
        replace(entry, text=" ".join(english[entry.id].split())) for entry in kept if entry.id in english
    ]
    pairs: Sequence[Kept] = [
        entry for entry in spoken if normalise(entry.text) and not symbols_of(entry.text)
    ]
    stays = splits_of({entry.id: (normalise(entry.text), entry.split) for entry in pairs})
    counts = {}
    for split in SPLITS:
        lines = [entry.line() for entry in pairs if entry.split == split == stays[entry.id]]
        written = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (out / file_of(split)).write_text(written, encoding="utf-8")
        counts[split] = len(lines)
    return counts
