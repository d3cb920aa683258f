"""Reader of Kaldi and ESPnet data directories."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ssvd_asr.audio.decoders import open_audio
from ssvd_asr.audio.limits import AudioLimits
from ssvd_asr.audio.read import OneWave
from ssvd_asr.errors import AudioError, DataError
from ssvd_asr.manifests.sources import Entry, number_of, resolved, text_lines, unsupported
from ssvd_asr.manifests.utterances import Problem, Utterance

CHANNELS_FILE = "reco2file_and_channel"
_ARCHIVE = re.compile(r"\.ark:\d+$")
_HEADER_LIMITS = AudioLimits(max_bytes=2**40)  # only the header is read


@dataclass(frozen=True)
class _Table:
    """One file of a data directory: on each line a key, and the rest as its value, which may be empty."""

    name: str
    values: dict[str, str]
    repeats: dict[str, str]  # key -> which equal lines it stands on
    conflicts: dict[str, str]  # key -> which differing lines it stands on

    @classmethod
    def read(cls, folder: Path, name: str) -> _Table:
        """Read ``folder/name``; a file that does not exist has no lines."""
        table = cls(name, {}, {}, {})
        lines: dict[str, int] = {}
        path = folder / name
        for number, line in text_lines(path) if path.is_file() else ():
            key, *rest = line.split(maxsplit=1)
            value = rest[0].rstrip() if rest else ""
            if key not in lines:
                table.values[key] = value
                lines[key] = number
            elif value.split() == table.values[key].split():
                table.repeats[key] = f"{name}: line {number} repeats line {lines[key]}"
            else:
                table.conflicts[key] = f"{name}: lines {lines[key]} and {number} differ"
        return table


def read_kaldi(folder: Path, *, needs_text: bool = True) -> Iterator[Entry]:
    """Yield an entry for each utterance of ``segments``, or of ``wav.scp`` where there is no such file.

    ``wav.scp`` and ``text`` are needed; ``segments``, ``utt2spk`` and ``reco2file_and_channel`` are read if
    present. Relative paths are tried from the current directory, as Kaldi does, then from ``folder``.
    A line that repeats an equal one is a Problem. Lines that differ make their key's utterances Problems.

    Raises:
        DataError: a needed file is missing, or a file is not UTF-8 text.
    """
    check_kaldi(folder, needs_text=needs_text)
    yield from _Directory(folder, needs_text).entries()


def check_kaldi(folder: Path, *, needs_text: bool = False) -> None:
    """Raise DataError if a needed file is missing."""
    for needed in ("wav.scp", "text") if needs_text else ("wav.scp",):
        if not (folder / needed).is_file():
            raise DataError(f"{folder} is not a Kaldi data directory: it has no {needed}")


@dataclass(frozen=True)
class _Directory:
    """The files of a data directory."""

    folder: Path
    needs_text: bool

    @cached_property
    def recordings(self) -> _Table:
        return _Table.read(self.folder, "wav.scp")

    @cached_property
    def texts(self) -> _Table:
        return _Table.read(self.folder, "text")

    @cached_property
    def segments(self) -> _Table | None:
        return _Table.read(self.folder, "segments") if (self.folder / "segments").is_file() else None

    @cached_property
    def speakers(self) -> _Table:
        return _Table.read(self.folder, "utt2spk")

    @cached_property
    def channels(self) -> _Table:
        return _Table.read(self.folder, CHANNELS_FILE)

    def entries(self) -> Iterator[Entry]:
        """Yield every entry, those that repeat or name nothing first."""
        utterances = self.segments or self.recordings
        for table in {utterances.name: utterances, "wav.scp": self.recordings, "text": self.texts}.values():
            for key, detail in table.repeats.items():
                yield Problem(key, table.values[key], "duplicate id", detail)
        for key in self.texts.values:
            if key not in utterances.values:
                where = "segments does not" if self.segments else "wav.scp does not"
                yield Problem(key, "", "missing file", f"{self.folder.name}/text names it, {where}")
        for key in utterances.values:
            yield self._entry(key)

    def _entry(self, key: str) -> Entry:
        recording, times = key, ""
        if self.segments:
            recording, _, times = " ".join(self.segments.values[key].split()).partition(" ")
        source = self.recordings.values.get(recording, "")
        if conflict := self._conflict(key, recording):
            return Problem(key, source or recording, "duplicate id", conflict)
        if not source:
            return Problem(key, recording, "missing file", f"recording {recording!r} has no line in wav.scp")
        if reason := _no_file(source):
            return Problem(key, source, "unsupported source", reason)
        if self.needs_text and key not in self.texts.values:
            return Problem(key, source, "empty text", f"{self.folder.name}/text has no line for it")
        audio = resolved(source, self.folder)
        start, end, *column = times.split() if len(times.split()) == 3 else (times, "")
        try:
            start_s, duration_s = _section(f"{start} {end}".strip())
            channel = self._channel(recording, audio, column)
        except ValueError as error:
            return Problem(key, source, "malformed entry", str(error))
        speaker = self.speakers.values.get(key) or None
        text = self.texts.values.get(key, "")
        return Utterance(key, audio, text, start_s, duration_s, speaker, channel=channel)

    def _conflict(self, key: str, recording: str) -> str | None:
        """Return where two lines disagree on this utterance, or None."""
        tables = [
            (self.recordings, recording),
            (self.texts, key),
            (self.speakers, key),
            (self.channels, recording),
        ]
        if self.segments:
            tables.append((self.segments, key))
        return next((table.conflicts[of] for table, of in tables if of in table.conflicts), None)

    def _channel(self, recording: str, audio: Path, column: Sequence[str]) -> OneWave:
        """Return the channel of a recording that is meant.

        Args:
            column: what the utterance's line in `segments` says of it, if anything.

        Raises:
            ValueError: the channel is not understood, or the two files disagree.
        """
        stated = _column_channel(column)
        if recording not in self.channels.values or _is_mono(audio):
            return stated  # of a file with one channel, reco2file_and_channel names where it came from
        listed = self._listed_channel(recording)
        if stated not in ("mix", listed):
            raise ValueError(f"{CHANNELS_FILE} chooses channel {listed}, segments channel {stated}")
        return listed

    def _listed_channel(self, recording: str) -> int:
        """Return the channel that reco2file_and_channel names: by a letter, or a number counted from 0.

        Scoring tools count from 1, so numbers are understood only if the file has a 0.
        """
        named = (self.channels.values[recording].split() or [""])[-1]
        if re.fullmatch("[A-Z]", named.upper()):
            return ord(named.upper()) - ord("A")
        if self._counts_from_0 and re.fullmatch("[0-9]{1,3}", named):
            return int(named)
        raise ValueError(
            f"{CHANNELS_FILE} chooses channel {named!r}; write A for the first, B for the second, "
            "since numbers may count from 0 or from 1"
        )

    @cached_property
    def _counts_from_0(self) -> bool:
        return any(value.split()[-1:] == ["0"] for value in self.channels.values.values())


def _column_channel(column: Sequence[str]) -> OneWave:
    """Return the channel of a line of `segments`. Raises ValueError if it is none."""
    if not column or column[0] == "-1":  # Kaldi's sign for the only channel
        return "mix"
    if not re.fullmatch("[0-9]{1,3}", column[0]):
        raise ValueError(f"the channel in segments must be a number from 0, found {column[0]!r}")
    return int(column[0])


def _is_mono(audio: Path) -> bool:
    """Return whether the file has one channel, or cannot be read, which the check of the audio will say."""
    try:
        with open_audio(audio, _HEADER_LIMITS) as opened:
            return opened.channels == 1
    except AudioError:
        return True


def _no_file(source: str) -> str | None:
    """Return why a value of wav.scp is no path of a file, or None."""
    if source.startswith("|") or source.endswith("|"):
        return "wav.scp holds a command; write its output to a file"
    if _ARCHIVE.search(source):
        return "wav.scp names a part of a Kaldi archive; write it to a file"
    return unsupported(source)


def _section(times: str) -> tuple[float, float | None]:
    """Return start and duration in seconds. Raises ValueError if the times are no section."""
    if not times:
        return 0.0, None
    try:
        start_s, end_s = map(number_of, times.split())
    except ValueError:
        raise ValueError(f"segments must hold start and end, found {times!r}") from None
    to_the_end = end_s == -1  # Kaldi's sign for the end of the recording
    if start_s < 0 or (not to_the_end and end_s <= start_s):
        raise ValueError(f"segment from {start_s} to {end_s} s")
    return start_s, None if to_the_end else end_s - start_s
