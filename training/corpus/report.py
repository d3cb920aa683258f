"""Report on the data of one manifest: what is used, what is left out and why, and what looks wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from ssvd_asr.errors import DataError
from ssvd_asr.manifests.utterances import Problem, Reason, Utterance
from ssvd_asr.scoring import normalise

# Speech has 2 to 4 words a second. Beyond these the text is hardly that of the audio.
MIN_WORDS_PER_S = 0.1
MAX_WORDS_PER_S = 8.0
_LONGEST_WORD = 30  # letters; a longer one is a script without spaces, whose words are not counted


@dataclass(frozen=True)
class Doubt:
    """Why an utterance that is used may be wrong."""

    id: str
    audio: str
    detail: str


@dataclass(frozen=True)
class DataReport:
    """Counts for one manifest; `problems` names every entry that was left out, `doubts` a few of the used."""

    source: str
    total: int
    usable: int
    usable_s: float
    problems: tuple[Problem, ...] = field(repr=False)
    doubts: tuple[Doubt, ...] = field(default=(), repr=False)

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
        if self.doubts:
            lines.append(f"  {len(self.doubts)} used, but too many or too few words for their length")
            lines += _examples(self.doubts, examples)
        return "\n".join(lines)


def _examples(found: Sequence[Problem | Doubt], most: int) -> list[str]:
    lines = [f"    {each.id}: {each.detail}" for each in found[:most]]
    return [*lines, f"    ... and {len(found) - most} more"] if len(found) > most else lines


def check_usable(report: DataReport, min_usable: int | float) -> None:
    """Raise DataError with the report's summary if fewer than ``min_usable`` utterances are usable."""
    needed = min_usable if isinstance(min_usable, int) else min_usable * report.total
    if report.usable < max(1, needed):
        wanted = min_usable if isinstance(min_usable, int) else f"{min_usable:.0%}"
        raise DataError(
            f"{report.usable} of {report.total} utterances are usable, --min-usable is {wanted}\n"
            f"{report.summary()}"
        )


def unusual_rate(utterance: Utterance, audio_s: float) -> Doubt | None:
    """Return a doubt about a text with under 0.1 or over 8 words a second, else None."""
    words = normalise(utterance.text).split()
    rate = len(words) / audio_s
    if MIN_WORDS_PER_S <= rate <= MAX_WORDS_PER_S or max(map(len, words), default=0) > _LONGEST_WORD:
        return None
    counted = f"{len(words)} word{'s' if len(words) != 1 else ''} in {audio_s:.2f} s"
    return Doubt(utterance.id, str(utterance.audio), f"{counted}, {rate:.2g} words a second")
