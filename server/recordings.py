"""Recordings that `ssvd transcribe` is given: files, folders, patterns, manifests, standard input."""

from __future__ import annotations

import glob
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from ssvd_asr.audio.limits import AudioLimits
from ssvd_asr.audio.read import Channel, read_recording
from ssvd_asr.audio.read import Recording as Read
from ssvd_asr.errors import SsvdError
from ssvd_asr.manifests.audio import read_section, why_missing
from ssvd_asr.manifests.read import is_data, read_entries
from ssvd_asr.manifests.sources import exists, unsupported
from ssvd_asr.manifests.utterances import PackedAudio, Problem, Utterance

# Endings of files that are taken from a folder, in any case. A file that is named itself may have any other.
AUDIO_SUFFIXES = frozenset(
    (
        *(".3gp", ".aac", ".aif", ".aifc", ".aiff", ".amr", ".au", ".caf", ".flac", ".m4a", ".m4b", ".mka"),
        *(".mkv", ".mov", ".mp3", ".mp4", ".oga", ".ogg", ".opus", ".rf64", ".sph", ".w64", ".wav", ".weba"),
        *(".webm", ".wma"),
    )
)
STDIN = "-"
_PATTERN = re.compile(r"[*?[]")
_UNSAFE = re.compile(r"[\x00-\x1f/\\]")


@dataclass(frozen=True)
class Recording:
    """One thing to transcribe.

    Attributes:
        name: what it is called in the output: its path, or the id of a manifest's entry.
        source: the file, the section of one that a manifest names, or None for standard input.
        place: where its transcript goes below the folder of --out, without an ending.
    """

    name: str
    source: Path | Utterance | None
    place: PurePath

    @property
    def file(self) -> Path | PackedAudio | None:
        """The audio file; None for standard input."""
        return self.source.audio if isinstance(self.source, Utterance) else self.source

    def read(self, limits: AudioLimits, channel: Channel) -> Read:
        """Return the audio. Raises AudioError, also where an entry names another channel, or OSError."""
        if isinstance(self.source, Utterance):
            return read_section(self.source, limits, channel)
        source = sys.stdin.buffer if self.source is None else self.source
        return read_recording(source, limits, channel=channel)


@dataclass(frozen=True)
class Refusal:
    """An argument, or an entry of a manifest, that is no recording, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Found:
    """What the arguments name, in their order, and lines about what was passed over."""

    items: tuple[Recording | Refusal, ...]
    notes: tuple[str, ...]

    @property
    def recordings(self) -> list[Recording]:
        """The recordings alone."""
        return [item for item in self.items if isinstance(item, Recording)]

    @property
    def refusals(self) -> list[Refusal]:
        """The others."""
        return [item for item in self.items if isinstance(item, Refusal)]


def find_recordings(arguments: Sequence[str]) -> Found:
    """Return the recordings that the arguments name. Nothing is decoded.

    - A folder stands for the audio files below it, by AUDIO_SUFFIXES, in the order of their paths. Hidden
      ones are left out.
    - A file or folder of data (`ssvd_asr.manifests`) stands for its entries.
    - An argument with `*`, `?` or `[` that is no file is a pattern, in which `**` matches folders too.
    - `-` is standard input.

    A file that is named twice is taken once.
    """
    notes: list[str] = []
    items: dict[object, Recording | Refusal] = {}
    for argument in arguments:
        for item in _named(argument, notes):
            items.setdefault(item, item)
    return Found(tuple(items.values()), tuple(notes))


def _named(argument: str, notes: list[str]) -> Iterator[Recording | Refusal]:
    path = Path(argument)
    if not argument:
        yield Refusal("''", "an empty path; is a variable of the shell not set?")
    elif reason := unsupported(argument):
        yield Refusal(argument, reason)
    elif argument == STDIN:
        yield Recording(STDIN, None, PurePath("stdin"))
    elif is_data(path):
        yield from _entries(path)
    elif path.is_dir():
        yield from _audio_below(path, notes)
    elif exists(path) or not _PATTERN.search(argument):
        yield _file(path)
    else:
        matches = sorted(set(_matches(Path(argument).parts)))
        if not matches:
            yield Refusal(argument, "no file matches the pattern")
        for match in matches:
            if not match.is_dir():
                yield _file(match)


def _matches(parts: tuple[str, ...]) -> Iterator[Path]:
    """Yield what a pattern matches. `glob` would follow links between folders again and again for `**`."""
    if "**" not in parts:
        yield from map(Path, glob.glob(os.path.join(*parts)))
        return
    first = parts.index("**")
    rest = parts[first + 1 :] or ("*",)
    tops = glob.glob(os.path.join(*parts[:first])) if first else ["."]
    for top in tops:
        for place, _ in _folders(Path(top)):
            yield from _matches((*(glob.escape(part) for part in Path(place).parts), *rest))


def _folders(top: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield each folder below `top` that is not hidden, and its files; one that links lead back to once."""
    seen: set[str] = set()
    for place, folders, files in os.walk(top, followlinks=True):
        if (real := os.path.realpath(place)) in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield place, files


def _file(path: Path) -> Recording | Refusal:
    try:
        path.stat()
    except OSError as error:
        return Refusal(str(path), error.strerror or str(error))
    return Recording(str(path), path, PurePath(path.stem))


def _audio_below(folder: Path, notes: list[str]) -> Iterator[Recording | Refusal]:
    found: list[Path] = []
    others: list[Path] = []
    for place, files in _folders(folder):
        for name in files:
            if not name.startswith("."):
                taken = Path(name).suffix.lower() in AUDIO_SUFFIXES
                (found if taken else others).append(Path(place, name))
    if others:
        endings = sorted({path.suffix.lower() or path.name for path in others})
        shown = ", ".join(endings[:5]) + (", ..." if len(endings) > 5 else "")
        count = "1 other file is" if len(others) == 1 else f"{len(others)} other files are"
        notes.append(f"{folder}: {count} not taken ({shown})")
    if not found:
        yield Refusal(str(folder), "no audio files in this folder")
    for path in sorted(found):
        yield Recording(str(path), path, path.relative_to(folder).with_suffix(""))


def _entries(source: Path) -> Iterator[Recording | Refusal]:
    try:
        entries = read_entries(source, needs_text=False)
    except SsvdError as error:
        yield Refusal(str(source), str(error))
        return
    if not entries:
        yield Refusal(str(source), "no entries")
    for entry in entries:
        if isinstance(entry, Problem):
            yield Refusal(f"{source}: {entry.id}", f"{entry.reason}: {entry.detail}")
        elif missing := why_missing(entry.audio):
            yield Refusal(f"{source}: {entry.id}", f"missing file: {missing}")
        else:
            yield Recording(entry.id, entry, PurePath(_file_name(entry.id)))


def _file_name(identity: str) -> str:
    """Return an id as a name that stays in its folder."""
    name = _UNSAFE.sub("_", identity)
    return f"_{name[1:]}" if name.startswith(".") else name
