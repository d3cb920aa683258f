"""Word error rate of a base or an adapter on a manifest, decoded by `ssvd_asr.transcription`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ssvd_asr.audio.read import SAMPLE_RATE, AudioLimits, Recording
from ssvd_asr.console import json_line
from ssvd_asr.errors import AudioError, AudioTooLongError, DataError
from ssvd_asr.manifests.audio import read_section, why_missing
from ssvd_asr.manifests.read import read_entries
from ssvd_asr.manifests.utterances import Problem, Reason, Utterance
from ssvd_asr.progress import progress_bar
from ssvd_asr.scoring import Score, normalise, score
from training.corpus.dataset import MAX_FILE_BYTES, in_threads
from training.corpus.prefetch import prefetch
from training.corpus.report import DataReport, Doubt, check_usable, doubts_of, other_texts, tags_of

if TYPE_CHECKING:
    from torch import Tensor

    from ssvd_asr.adapted_model import AdaptedModel
    from ssvd_asr.base.model import BaseModel
    from ssvd_asr.decoding.options import DecodingOptions

EVALUATION_BATCH = 16  # utterances decoded together

_Clip = tuple[int, Utterance, Recording]


@dataclass(frozen=True)
class Decoded:
    """One scored utterance."""

    id: str
    reference: str
    hypothesis: str


@dataclass(frozen=True)
class Evaluation:
    """The score of one model on one manifest, with every hypothesis."""

    score: Score
    report: DataReport
    decoded: tuple[Decoded, ...] = field(repr=False)  # in the manifest's order
    audio_s: float
    wall_s: float

    def as_json(self) -> dict[str, object]:
        """Return the figures as ratios, seconds and counts, without the hypotheses."""
        return {
            "wer": self.score.wer,
            "wer_raw": self.score.wer_raw,
            "cer": self.score.cer,
            "utterances": self.score.utterances,
            "reference_words": self.score.reference_words,
            "substitutions": self.score.substitutions,
            "deletions": self.score.deletions,
            "insertions": self.score.insertions,
            "left_out": self.report.counts,
            "audio_s": round(self.audio_s, 3),
            "wall_s": round(self.wall_s, 3),
        }

    def write_hypotheses(self, path: Path) -> None:
        """Write JSON lines of id, ref and hyp. Raises DataError if they cannot be written."""
        lines = [{"id": one.id, "ref": one.reference, "hyp": one.hypothesis} for one in self.decoded]
        text = "".join(json_line(json.dumps(line, ensure_ascii=False)) + "\n" for line in lines)
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise DataError(f"{path} cannot be written: {error.strerror}") from error


def evaluate(
    base: BaseModel,
    source: Path,
    *,
    adapted: AdaptedModel | None = None,
    cores: Mapping[str, Tensor] | None = None,
    language: str = "<eng>",
    min_usable: int | float = 1,
    batch_size: int = EVALUATION_BATCH,
    first: int | None = None,
    progress: bool = True,
    options: DecodingOptions | None = None,
) -> Evaluation:
    """Decode the usable utterances of ``source`` and score their texts.

    Entries that cannot be read, are longer than the window, or hold no word, are left out and named in the
    report. An utterance without words would count every word heard as wrong, and divide it by nothing.

    Args:
        source: a manifest, cut set or Kaldi data directory.
        adapted: the base with adapted layers, needed for ``cores``.
        cores: the adapter's cores by layer; without them the base itself is scored.
        min_usable: a count (int), or a share of all entries (float).
        batch_size: utterances decoded together.
        first: how many entries to read from the start; None reads all.
        options: the search; None is the base's default, see DecodingOptions.

    Raises:
        DataError: ``source`` is no manifest, or fewer than ``min_usable`` utterances are usable.
    """
    from ssvd_asr.decoding.options import DEFAULT
    from ssvd_asr.transcription import transcribe

    options = options or DEFAULT
    entries = read_entries(source)[:first]
    problems = [entry for entry in entries if isinstance(entry, Problem)]
    utterances = [entry for entry in entries if isinstance(entry, Utterance)]
    limits = AudioLimits(max_duration_s=base.window.duration_s, max_bytes=MAX_FILE_BYTES)
    found: dict[int, Decoded] = {}
    doubts: dict[int, list[Doubt]] = {}
    samples = 0
    began = time.monotonic()
    with progress_bar(
        total=len(utterances), desc=f"decoding {source.name}", unit="utt", disable=not progress
    ) as bar:
        for clips, bad, size in prefetch(_readers(utterances, limits, batch_size)):
            problems += bad
            if clips:
                waves = [read.waves[0] for _, _, read in clips]
                transcripts = transcribe(
                    base, waves, adapted=adapted, cores=cores, language=language, options=options
                )
                for (index, utterance, read), transcript in zip(clips, transcripts, strict=True):
                    found[index] = Decoded(utterance.id, utterance.text, transcript.text)
                    doubts[index] = doubts_of(utterance, read.waves[0], read.warnings[0])
                    samples += len(read.waves[0])
            bar.update(size)
    wall_s = time.monotonic() - began
    doubtful = [doubt for index in sorted(doubts) for doubt in doubts[index]]
    used = [utterances[index] for index in sorted(found)]
    report = _report(source, entries, used, samples, problems, doubtful)
    check_usable(report, min_usable)
    decoded = tuple(found[index] for index in sorted(found))
    scored = score([one.reference for one in decoded], [one.hypothesis for one in decoded])
    return Evaluation(scored, report, decoded, samples / SAMPLE_RATE, wall_s)


def check_scored(
    source: Path, window_s: float, *, min_usable: int | float = 1, progress: bool = True
) -> DataReport:
    """Return the report on data that will be scored, without decoding any words.

    Args:
        window_s: length of the base's window in seconds; `evaluate` leaves longer utterances out.

    Raises:
        DataError: as `evaluate`.
    """
    entries = read_entries(source)
    problems = [entry for entry in entries if isinstance(entry, Problem)]
    utterances = [entry for entry in entries if isinstance(entry, Utterance)]
    limits = AudioLimits(max_duration_s=window_s, max_bytes=MAX_FILE_BYTES)
    used: list[Utterance] = []
    doubts: list[Doubt] = []
    samples = 0

    def look(utterance: Utterance) -> Problem | tuple[int, list[Doubt]]:
        read = _read_clip(utterance, limits)
        if isinstance(read, Problem):
            return read
        return len(read.waves[0]), doubts_of(utterance, read.waves[0], read.warnings[0])

    results = in_threads(look, utterances, source.name, progress)
    for utterance, result in zip(utterances, results, strict=True):
        if isinstance(result, Problem):
            problems.append(result)
            continue
        used.append(utterance)
        samples += result[0]
        doubts += result[1]
    report = _report(source, entries, used, samples, problems, doubts)
    check_usable(report, min_usable)
    return report


def _report(
    source: Path,
    entries: Sequence[Utterance | Problem],
    used: Sequence[Utterance],
    samples: int,
    problems: Sequence[Problem],
    doubts: Sequence[Doubt],
) -> DataReport:
    """Return the report on scored data: their entries, and the used ones with their samples in all."""
    return DataReport(
        str(source),
        len(entries),
        len(used),
        samples / SAMPLE_RATE,
        tuple(problems),
        (*doubts, *other_texts(used)),
        tags_of(entry for entry in entries if isinstance(entry, Utterance)),
    )


def _readers(
    utterances: Sequence[Utterance], limits: AudioLimits, size: int
) -> Iterator[Callable[[], tuple[list[_Clip], list[Problem], int]]]:
    """Yield readers of batches of about equal length, estimated by the number of letters, longest first."""
    order = sorted(range(len(utterances)), key=lambda index: -len(utterances[index].text))
    for start in range(0, len(order), size):
        chosen = [(index, utterances[index]) for index in order[start : start + size]]
        yield partial(_read_batch, chosen, limits)


def _read_batch(
    chosen: Sequence[tuple[int, Utterance]], limits: AudioLimits
) -> tuple[list[_Clip], list[Problem], int]:
    clips: list[_Clip] = []
    problems: list[Problem] = []
    for index, utterance in chosen:
        found = _read_clip(utterance, limits)
        if isinstance(found, Problem):
            problems.append(found)
        else:
            clips.append((index, utterance, found))
    return clips, problems, len(chosen)


def _read_clip(utterance: Utterance, limits: AudioLimits) -> Recording | Problem:
    def problem(reason: Reason, detail: object) -> Problem:
        return Problem(utterance.id, str(utterance.audio), reason, str(detail))

    if not normalise(utterance.text):
        return problem("empty text", f"{utterance.text!r} holds no word to score against")
    if missing := why_missing(utterance.audio):
        return problem("missing file", missing)
    try:
        return read_section(utterance, limits)
    except AudioTooLongError as error:
        return problem("too long for the window", error)
    except (AudioError, OSError) as error:
        return problem("unreadable audio", error)
