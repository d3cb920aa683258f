"""Report on the data of one manifest: what is used, what is left out and why, and what looks wrong."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal, get_args

import numpy as np

from ssvd_asr.audio.read import SAMPLE_RATE, FloatArray
from ssvd_asr.errors import DataError
from ssvd_asr.manifests.sources import shown
from ssvd_asr.manifests.utterances import Problem, Reason, Utterance
from ssvd_asr.scoring import normalise

# Speech has 2 to 4 words a second. Beyond these the text is hardly that of the audio.
MIN_WORDS_PER_S = 0.1
MAX_WORDS_PER_S = 8.0
_LONGEST_WORD = 30  # letters; a longer one is a script without spaces, whose words are not counted


# The loudest sample of silence, in shares of full scale: -60 dB.
SILENT_PEAK = 0.001
# Of clipped speech more than this share of all samples is within 1 % of full scale, or beyond.
CLIPPED_SHARE = 0.002

DoubtKind = Literal[
    "words per second", "silent audio", "clipped audio", "mended audio", "brackets in the text", "other text"
]


@dataclass(frozen=True)
class Doubt:
    """Why an utterance that is used may be wrong."""

    id: str
    audio: str
    detail: str
    kind: DoubtKind = "words per second"


class TooFewUsableError(DataError):
    """Fewer utterances are usable than were asked for. `report` names every entry that was left out."""

    def __init__(self, message: str, report: DataReport) -> None:
        super().__init__(message)
        self.report = report


@dataclass(frozen=True)
class DataReport:
    """Counts for one manifest; `problems` names every entry that was left out, `doubts` a few of the used."""

    source: str
    total: int
    usable: int
    usable_s: float
    problems: tuple[Problem, ...] = field(repr=False)
    doubts: tuple[Doubt, ...] = field(default=(), repr=False)
    tags: Mapping[str, int] = field(default_factory=dict)  # of events, dropped from the texts: how often each

    @property
    def counts(self) -> dict[Reason, int]:
        """Entries left out, by reason."""
        return dict(Counter(problem.reason for problem in self.problems))

    def as_json(self) -> dict[str, object]:
        """Return the report file's content: counts, then every problem."""
        return {
            "source": self.source,
            "total": self.total,
            "usable": self.usable,
            "usable_s": round(self.usable_s, 3),
            "counts": self.counts,
            "problems": [asdict(problem) for problem in self.problems],
            "tags": dict(self.tags),
            "warnings": [asdict(doubt) for doubt in self.doubts],
        }

    def summary(self, examples: int = 3) -> str:
        """Return a few lines to print: how much is usable, and the first examples of each reason."""
        lines = [
            f"{self.source}: {self.usable} of {self.total} utterances usable, {self.usable_s / 3600:.2f} h"
        ]
        for reason, count in sorted(self.counts.items()):
            lines.append(f"  {count} left out: {reason}")
            lines += _examples([each for each in self.problems if each.reason == reason], examples)
        if self.tags:
            common = sorted(self.tags, key=lambda tag: -self.tags[tag])[:examples]
            shown = ", ".join(f"{tag} {self.tags[tag]}" for tag in common)
            lines.append(f"  {sum(self.tags.values())} tags dropped from the texts ({shown})")
        for kind in get_args(DoubtKind):
            if doubts := [doubt for doubt in self.doubts if doubt.kind == kind]:
                utterances = len({doubt.id for doubt in doubts})
                lines.append(f"  {utterances} used, but {_DOUBTS[kind]}")
                lines += _examples(doubts, examples)
        return "\n".join(lines)


_DOUBTS: dict[DoubtKind, str] = {
    "words per second": "too many or too few words for their length",
    "silent audio": "silent",
    "clipped audio": "clipped",
    "mended audio": "with audio that was mended, or read in part",
    "other text": "with another text for the same audio",
    "brackets in the text": "with words missing, or brackets that are no known tag",
}


def _examples(found: Sequence[Problem | Doubt], most: int) -> list[str]:
    lines = [f"    {each.id}: {each.detail}" for each in found[:most]]
    return [*lines, f"    ... and {len(found) - most} more"] if len(found) > most else lines


def check_usable(report: DataReport, min_usable: int | float) -> None:
    """Raise TooFewUsableError with the report if fewer than ``min_usable`` utterances are usable."""
    needed = min_usable if isinstance(min_usable, int) else min_usable * report.total
    if report.usable < max(1, needed):
        wanted = min_usable if isinstance(min_usable, int) else f"{min_usable:.0%}"
        raise TooFewUsableError(
            f"{report.usable} of {report.total} utterances are usable, --min-usable is {wanted}\n"
            f"{report.summary()}",
            report,
        )


def doubts_of(utterance: Utterance, wave: FloatArray, warnings: Sequence[str] = ()) -> list[Doubt]:
    """Return what may be wrong with an utterance that is used.

    Args:
        wave: (samples,) float32 at 16 kHz, full scale 1.
        warnings: what reading the audio has told; serving says it in `ssvd.warnings`.
    """
    audio = str(utterance.audio)
    found = [Doubt(utterance.id, audio, detail, "brackets in the text") for detail in utterance.doubts]
    level = np.abs(wave)
    peak = float(level.max(initial=0))
    clipped = float(np.mean(level >= 0.99)) if len(level) else 0.0
    if peak < SILENT_PEAK:
        decibels = f"{20 * math.log10(peak):.0f} dB" if peak else "zero"
        found.append(Doubt(utterance.id, audio, f"its loudest sample is {decibels}", "silent audio"))
    told_clipped = False
    for warning in warnings:
        about_clipping = "clipped" in warning
        told_clipped |= about_clipping
        kind: DoubtKind = "clipped audio" if about_clipping else "mended audio"
        found.append(Doubt(utterance.id, audio, warning, kind))
    if clipped > CLIPPED_SHARE and not told_clipped:
        detail = f"{clipped:.1%} of its samples are at full scale"
        found.append(Doubt(utterance.id, audio, detail, "clipped audio"))
    rate = unusual_rate(utterance, len(wave) / SAMPLE_RATE)
    return found if rate is None else [*found, rate]


def other_texts(utterances: Iterable[Utterance]) -> list[Doubt]:
    """Return a doubt about each utterance whose audio an earlier one has, with another normalised text."""
    first: dict[object, Utterance] = {}
    found = []
    for each in utterances:
        section = (each.audio, each.start_s, each.duration_s, each.channel)
        before = first.setdefault(section, each)
        if normalise(before.text) != normalise(each.text):
            detail = f"{before.id} has the same audio, and the text {shown(before.text)}"
            found.append(Doubt(each.id, str(each.audio), detail, "other text"))
    return found


def tags_of(utterances: Iterable[Utterance]) -> dict[str, int]:
    """Return how often each tag of an event was dropped from the texts, the most frequent first."""
    return dict(Counter(tag for utterance in utterances for tag in utterance.tags).most_common())


def unusual_rate(utterance: Utterance, audio_s: float) -> Doubt | None:
    """Return a doubt about a text with under 0.1 or over 8 words a second, else None."""
    words = normalise(utterance.text).split()
    rate = len(words) / audio_s
    if MIN_WORDS_PER_S <= rate <= MAX_WORDS_PER_S or max(map(len, words), default=0) > _LONGEST_WORD:
        return None
    counted = f"{len(words)} word{'s' if len(words) != 1 else ''} in {audio_s:.2f} s"
    return Doubt(utterance.id, str(utterance.audio), f"{counted}, {rate:.2g} words a second")
