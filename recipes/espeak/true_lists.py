"""Measures what is made of each kind of manifest: the second table of docs/results/true-in.md.

`true_in` runs this file by its path, with a reader's own checkout to import from. It prints what the reader
found of the manifests below a folder; it imports only what the first commits have too.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

INDEX_FILE = "sources.json"  # the folders below, and what is read in each
SILENT_PEAK = 0.001
MAX_DURATION_S = 30.0

Found = Mapping[str, Any]  # used: seconds and texts, left_out: reasons; or refused; or broke


def readers() -> tuple[Any, Any]:
    """Return the readers of manifests and of an utterance's audio: today's, or those imported from."""
    limits = None
    try:
        entries = import_module("ssvd_asr.manifests.read").read_entries
        read = import_module("ssvd_asr.manifests.audio").read_utterance
        limits = import_module("ssvd_asr.audio.limits").AudioLimits(max_duration_s=MAX_DURATION_S)
        return entries, lambda utterance: read(utterance, limits)
    except ModuleNotFoundError:  # the first commits
        entries = import_module("training.manifests").read_entries
        audio = import_module("ssvd_asr.audio")
        limits = audio.AudioLimits(max_duration_s=MAX_DURATION_S)
        return entries, lambda each: audio.read_audio(each.audio, limits, each.start_s, each.duration_s)


def read(source: Path) -> Found:
    """Return what is made of a manifest."""
    read_entries, read_audio = readers()
    try:
        entries = read_entries(source)
    except ValueError as error:
        return {"refused": str(error).removeprefix(f"{source}").removeprefix(": ").strip()}
    except Exception as error:  # a traceback for the user
        return {"broke": type(error).__name__}
    used: list[str] = []
    left_out: list[str] = []
    for entry in entries:
        if hasattr(entry, "reason"):
            left_out.append(entry.reason)
            continue
        try:
            wave = read_audio(entry)
        except (ValueError, OSError):
            left_out.append("unreadable audio" if _is_there(entry.audio) else "missing file")
            continue
        silent = ", silent" if abs(wave).max() < SILENT_PEAK else ""
        used.append(f"{len(wave) / 16_000:.1f} s{silent}: {_plain(entry.text)}")
    return {"used": used, "left_out": left_out}


def _plain(text: object) -> str:
    """Return a text as a page can hold it, on one line."""
    return " ".join(str(text).split()).replace("\0", r"\0")


def _is_there(audio: Any) -> bool:
    try:
        return bool(audio.exists())
    except OSError:
        return False


def measure(folder: Path) -> dict[str, Found]:
    """Return what is made of the manifests that the index of a folder names."""
    sources: dict[str, str] = json.loads((folder / INDEX_FILE).read_text(encoding="utf-8"))
    return {name: read(folder / name / source) for name, source in sources.items()}


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]))))
