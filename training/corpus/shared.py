"""Audio and texts that two sets of utterances share, such as those for training and for testing."""

from __future__ import annotations

import math
import os
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import file_digest
from itertools import accumulate, combinations
from pathlib import Path

from ssvd_asr.manifests.utterances import PackedAudio, Utterance
from ssvd_asr.scoring import normalise

_COMPARED_FIRST = 2**16  # bytes

Shared = dict[str, dict[str, int]]


def shared_between(sets: Mapping[str, Sequence[Utterance]]) -> Shared:
    """Return, for each two sets, how many utterances of the second are in the first.

    The key of two sets is "train and test". Its counts are ``audio``, of utterances whose section of a file
    overlaps one of the first set, and ``texts``, of those whose normalised text is in the first set too.
    A copy of a file under another name counts as the file; a copy in another format does not.
    """
    same = _same_files({_file(each.audio) for utterances in sets.values() for each in utterances})
    sections = {name: _sections(utterances, same) for name, utterances in sets.items()}
    texts = {name: [normalise(each.text) for each in utterances] for name, utterances in sets.items()}
    return {
        f"{first} and {second}": {
            "audio": _overlapping(sections[first], sections[second]),
            "texts": _repeated(texts[first], texts[second]),
        }
        for first, second in combinations(sets, 2)
    }


def shared_lines(shared: Shared) -> list[str]:
    """Return a line to print for each two sets that share something."""
    return [
        f"{names} share the audio of {counts['audio']} and the texts of {counts['texts']} utterances"
        for names, counts in shared.items()
        if any(counts.values())
    ]


_Sections = dict[Path | PackedAudio, list[tuple[float, float]]]


def _file(audio: Path | PackedAudio) -> Path:
    file = audio.file if isinstance(audio, PackedAudio) else audio
    return Path(os.path.realpath(file))  # Path.resolve() raises where links lead in a circle


def _same_files(files: Iterable[Path]) -> dict[Path, Path]:
    """Return for each file that is a copy of another, byte by byte, the one that stands for both.

    Of files as long as another the first bytes are compared, then all.
    """
    alike = _alike(files, lambda file: file.stat().st_size)
    alike = [group for each in alike for group in _alike(each, _first_bytes)]
    alike = [group for each in alike for group in _alike(each, _digest)]
    return {file: group[0] for group in alike for file in group}


def _alike(files: Iterable[Path], key: Callable[[Path], object]) -> list[list[Path]]:
    """Return the groups of files that have the same key. One that cannot be read is in none."""
    groups: dict[object, list[Path]] = defaultdict(list)
    for file in sorted(files):
        try:
            groups[key(file)].append(file)
        except OSError:  # the check of its set tells why
            continue
    return [group for group in groups.values() if len(group) > 1]


def _first_bytes(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(_COMPARED_FIRST)


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return file_digest(stream, "sha256").hexdigest()


def _sections(utterances: Iterable[Utterance], same: Mapping[Path, Path]) -> _Sections:
    """Return start and end in seconds of the utterances of each file, in order of their starts."""
    found: _Sections = defaultdict(list)
    for utterance in utterances:
        end_s = math.inf if utterance.duration_s is None else utterance.start_s + utterance.duration_s
        audio, file = utterance.audio, _file(utterance.audio)
        file = same.get(file, file)
        found[replace(audio, file=file) if isinstance(audio, PackedAudio) else file].append(
            (utterance.start_s, end_s)
        )
    return {path: sorted(sections) for path, sections in found.items()}


def _overlapping(first: _Sections, second: _Sections) -> int:
    """Return how many sections of ``second`` overlap one of ``first``."""
    count = 0
    for path in first.keys() & second.keys():
        starts_s = [start_s for start_s, _ in first[path]]
        ends_s = list(accumulate((end_s for _, end_s in first[path]), max))  # latest end up to each start
        for start_s, end_s in second[path]:
            before = bisect_left(starts_s, end_s)  # sections that start before this one ends
            count += before > 0 and ends_s[before - 1] > start_s
    return count


def _repeated(first: Iterable[str], second: Iterable[str]) -> int:
    known = set(first) - {""}
    return sum(text in known for text in second)
