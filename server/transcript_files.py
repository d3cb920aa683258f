"""Output files of `ssvd transcribe`: the content of a reply in each format, and the paths to write to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, get_args

from server.engine.messages import Reply
from server.errors import OutputError
from server.reply_fields import channel_fields, decoding_fields, timed_fields
from server.subtitles import subtitles

TranscriptFormat = Literal["txt", "srt", "vtt", "json"]
FORMATS: tuple[TranscriptFormat, ...] = get_args(TranscriptFormat)


def entry(file: Path, reply: Reply, *, timed: bool = False) -> dict[str, Any]:
    """Return a transcript and its provenance as a JSON object. `timed` adds the times."""
    made_by = reply.provenance
    adapter = None if made_by.domain is None else f"{made_by.domain}@sha256:{made_by.adapter_sha256}"
    return {
        "file": str(file),
        "text": reply.text,
        **channel_fields(reply),
        "duration_s": round(reply.duration_s, 3),
        **asdict(made_by),
        "adapter": adapter,  # a reference pinned to the digest
        "decoding": [decoding_fields(each) for each in reply.decoding],
        "warnings": list(reply.warnings),
        **(timed_fields(reply, ("word", "segment")) if timed else {}),
    }


def written(file: Path, reply: Reply, transcript_format: TranscriptFormat) -> str:
    """Return the content of the transcript's file."""
    if transcript_format == "txt":
        return reply.text + "\n"
    if transcript_format == "json":
        return json.dumps(entry(file, reply, timed=True), ensure_ascii=False, indent=1) + "\n"
    return subtitles(reply, transcript_format)


def targets(
    files: Sequence[Path], folder: Path, transcript_format: TranscriptFormat, *, overwrite: bool
) -> Mapping[Path, Path]:
    """Return the path of each file's transcript: FOLDER/<stem of the file>.<format>.

    Raises OutputError if two files would get the same path, or if a path exists and `overwrite` is false.
    """
    places: dict[Path, Path] = {}
    sources: dict[Path, Path] = {}
    for file in files:
        place = folder / f"{file.stem}.{transcript_format}"
        other = sources.setdefault(place, file)
        if other != file:
            raise OutputError(f"{other} and {file} would both be written to {place}")
        if place.exists() and not overwrite:
            raise OutputError(f"{place} exists: --overwrite replaces it")
        places[file] = place
    return places
