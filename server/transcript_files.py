"""Output files of `ssvd transcribe`: the content of a reply in each format, and the paths to write to."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from server.engine.messages import Reply
from server.errors import OutputError
from server.recordings import Recording
from server.reply_fields import auto_fields, channel_fields, decoding_fields, provenance_fields, timed_fields
from server.subtitles import subtitles
from ssvd_asr.console import json_line
from ssvd_asr.manifests.sources import shown
from ssvd_asr.manifests.utterances import Utterance

TranscriptFormat = Literal["txt", "srt", "vtt", "json"]
_MAX_NAME_BYTES = 255 - len(".part")  # of most file systems, less what a file has while it is written

FORMATS: tuple[TranscriptFormat, ...] = get_args(TranscriptFormat)


def entry(recording: Recording, reply: Reply, *, timed: bool = False) -> dict[str, Any]:
    """Return a transcript and its provenance as a JSON object. `timed` adds the times."""
    made_by = reply.provenance
    section = recording.source
    return {
        "file": str(recording.file or recording.name),
        **({"id": section.id, "start_s": section.start_s} if isinstance(section, Utterance) else {}),
        "text": reply.text,
        **channel_fields(reply),
        "duration_s": round(reply.duration_s, 3),
        **provenance_fields(made_by),
        "adapter": made_by.pinned,  # a reference pinned to the digest
        "decoding": [decoding_fields(each) for each in reply.decoding],
        "warnings": list(reply.warnings),
        **auto_fields(reply),
        **(timed_fields(reply, ("word", "segment")) if timed else {}),
    }


def written(recording: Recording, reply: Reply, transcript_format: TranscriptFormat) -> str:
    """Return the content of the transcript's file."""
    if transcript_format == "txt":
        return reply.text + "\n"
    if transcript_format == "json":
        made = entry(recording, reply, timed=True)
        return json_line(json.dumps(made, ensure_ascii=False, indent=1)) + "\n"
    return subtitles(reply, transcript_format)


def targets(
    recordings: Sequence[Recording], folder: Path, transcript_format: TranscriptFormat
) -> Mapping[Recording, Path]:
    """Return the path of each recording's transcript: FOLDER/<its place>.<format>.

    Raises OutputError if two recordings would get the same path, if a folder has it, or if it is too long.
    """
    places: dict[Recording, Path] = {}
    sources: dict[Path, Recording] = {}
    for recording in recordings:
        place = folder / recording.place.with_name(f"{recording.place.name}.{transcript_format}")
        if len(os.fsencode(place.name)) > _MAX_NAME_BYTES:
            raise OutputError(f"{shown(recording.name)} is too long for the name of a file; give it an id")
        other = sources.setdefault(place, recording)
        if other != recording:
            raise OutputError(f"{other.name} and {recording.name} would both be written to {place}")
        if place.is_dir():
            raise OutputError(f"{place} is a folder; the transcript of {recording.name} would go there")
        places[recording] = place
    return places
