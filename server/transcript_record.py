"""Record of the transcripts in a folder: of which audio they are, and what made them.

A run that was stopped goes on after the last transcript. A transcript that the record does not know, or
knows as made of other audio or in another way, is neither taken for done nor replaced.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from server.errors import OutputError
from server.recordings import Recording
from ssvd_asr.manifests.utterances import Utterance
from ssvd_asr.output_paths import check_output_folder

RECORD_FILE = "ssvd-transcripts.jsonl"

Line = dict[str, Any]


@dataclass
class TranscriptRecord:
    """The record in one folder.

    Attributes:
        made_by: base, domain, language, format and search of this run.
    """

    folder: Path
    made_by: Mapping[str, Any]
    lines: dict[str, Line] = field(default_factory=dict)  # by the transcript's path below the folder

    @classmethod
    def open(cls, folder: Path, made_by: Mapping[str, Any]) -> TranscriptRecord:
        """Read a folder's record, and make the folder where there is none.

        Raises SsvdError if the folder cannot be made or written to, or the record is damaged.
        """
        check_output_folder(folder, "--out")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"--out {folder}: {error.strerror}") from error
        record = cls(folder, made_by)
        path = folder / RECORD_FILE
        try:
            with path.open("ab+") as stream:
                stream.seek(0)
                whole = stream.read().rpartition(b"\n")[0]
                # A last line without newline was cut off when the process ended.
                stream.truncate(len(whole) + 1 if whole else 0)
            for line in map(json.loads, whole.splitlines()):
                record.lines[line["to"]] = line
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise OutputError(f"{path} is not the record of `ssvd transcribe`: {error!r}") from error
        return record

    def is_done(self, recording: Recording, place: Path) -> bool:
        """Return whether a transcript is this recording's, made in this way.

        Raises OutputError if another stands in its place.
        """
        if not place.exists():
            return False
        line = self.lines.get(self._name(place))
        if line is None:
            raise OutputError(f"{place} exists and is not in {RECORD_FILE}: --overwrite replaces it")
        # Records of before channels were noted are of recordings whose entries named none.
        if line["of"] is None or {"channel": "mix", **line["of"]} != _identity(recording):
            raise OutputError(f"{place} is of other audio than {recording.name}: --overwrite replaces it")
        differing = [name for name in self.made_by if line["made_by"].get(name) != self.made_by[name]]
        if differing:
            was = ", ".join(f"{name} {line['made_by'].get(name)}" for name in differing)
            raise OutputError(f"{place} was made with {was}: --overwrite replaces it")
        return True

    def check_base(self, digest: str) -> None:
        """Raise OutputError if a transcript taken for done was made by a base of another digest."""
        for name, line in self.lines.items():
            same = all(line["made_by"].get(key) == value for key, value in self.made_by.items())
            if same and line["base_digest"] != digest and (self.folder / name).exists():
                raise OutputError(
                    f"{self.folder / name} was made by another base of this name ({line['base_digest']}, not "
                    f"{digest}): --overwrite replaces it"
                )

    def write(self, recording: Recording, place: Path, text: str, digest: str) -> None:
        """Note a transcript and put it into its place, whole or not at all.

        Raises OutputError if it cannot be written.
        """
        name = self._name(place)
        line = {
            "to": name,
            "of": _identity(recording),
            "made_by": dict(self.made_by),
            "base_digest": digest,
        }
        part = place.with_name(f"{place.name}.part")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(text, encoding="utf-8")
            with (self.folder / RECORD_FILE).open("ab") as stream:
                stream.write(json.dumps(line).encode() + b"\n")
            part.replace(place)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise OutputError(f"{place} cannot be written: {error.strerror}") from error
        self.lines[name] = line

    def _name(self, place: Path) -> str:
        return str(place.relative_to(self.folder))


def _identity(recording: Recording) -> Line | None:
    """Return what tells whether the audio is the same: path, size and time of the file, section and channel.

    Nothing tells it of standard input.
    """
    file = recording.file
    if file is None:
        return None
    found = file.stat()
    return {
        "file": str(file.resolve()),
        "bytes": found.st_size,
        "modified_ns": found.st_mtime_ns,
        **_section(recording.source),
    }


def _section(source: object) -> Line:
    """Return which part and channel of its file a recording is."""
    if isinstance(source, Utterance):
        return {"start_s": source.start_s, "duration_s": source.duration_s, "channel": source.channel}
    return {"start_s": 0.0, "duration_s": None, "channel": "mix"}
