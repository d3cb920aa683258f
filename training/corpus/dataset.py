"""Dataset of the usable utterances of a manifest; a report names every other entry.

Every file is decoded once before training starts, so that broken files are found at once and not hours
later. Decoded audio stays in memory as 16-bit samples up to `cache_bytes` (115 MB an hour).
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ssvd_asr.audio.read import SAMPLE_RATE, AudioLimits
from ssvd_asr.base.model import Tokens
from ssvd_asr.errors import AudioError, AudioTooLongError, DataError
from ssvd_asr.manifests.audio import read_section, read_utterance, why_missing
from ssvd_asr.manifests.read import read_entries
from ssvd_asr.manifests.utterances import Problem, Reason, Utterance
from ssvd_asr.progress import progress_bar
from ssvd_asr.scoring import normalise
from training.corpus.prompts import FloatArray, PromptSymbols
from training.corpus.report import DataReport, Doubt, check_usable, doubts_of, other_texts, tags_of

MIN_DURATION_S = 0.1
MAX_FILE_BYTES = 16 * 2**30  # a segment may lie in a recording hours long
_INT16_SCALE = 32767.0


@dataclass(frozen=True)
class Rules:
    """Requirements of the base model and the recipe for an utterance."""

    tokens: Tokens
    symbols: PromptSymbols
    window_s: float
    window_frames: int  # encoder frames of the full window, available to the CTC
    normalise_text: bool = False
    has_ctc: bool = True  # else any text is short enough for the frames
    most_pieces: int | None = None  # that the decoder can say after its prompt; None: any number

    @property
    def limits(self) -> AudioLimits:
        """Limits on decoding one file; longer audio counts as too long."""
        return AudioLimits(max_duration_s=self.window_s, max_bytes=MAX_FILE_BYTES)

    def frames_needed(self, pieces: tuple[int, ...]) -> int:
        """Return the encoder frames the CTC needs: one per token, and a blank between equal neighbours."""
        if not self.has_ctc:
            return 0
        return len(pieces) + sum(a == b for a, b in pairwise(pieces))

    def text(self, text: str) -> str:
        """Return the text as it is trained on."""
        return normalise(text) if self.normalise_text else text.strip()


@dataclass(frozen=True)
class Sample:
    """An utterance that passed every check."""

    utterance: Utterance
    pieces: tuple[int, ...]
    samples: int
    checksum: int  # CRC-32 of the decoded 16-bit samples
    frames_needed: int
    doubts: tuple[Doubt, ...] = ()


@dataclass(frozen=True)
class Dataset:
    """The usable samples of one manifest, with as much of their audio in memory as fits."""

    samples: tuple[Sample, ...]
    report: DataReport
    limits: AudioLimits
    cached: dict[int, npt.NDArray[np.int16]] = field(repr=False)

    def wave(self, index: int) -> FloatArray:
        """Return (samples,) float32 at 16 kHz, bit-identical whether cached or read again.

        Raises DataError if the file has changed since it was checked.
        """
        stored = self.cached.get(index)
        if stored is None:
            sample = self.samples[index]
            stored = _int16(read_utterance(sample.utterance, self.limits))
            if zlib.crc32(stored.tobytes()) != sample.checksum:
                raise DataError(f"{sample.utterance.audio} has changed since the run began")
        return stored.astype(np.float32) / np.float32(_INT16_SCALE)

    @property
    def digest(self) -> str:
        """SHA-256 over the training data: order, audio samples and token ids."""
        hasher = sha256()
        for sample in self.samples:
            hasher.update(f"{sample.samples} {sample.checksum} {sample.pieces}\n".encode())
        return f"sha256:{hasher.hexdigest()}"

    @property
    def utterances(self) -> list[Utterance]:
        """The utterances of the samples, in their order."""
        return [sample.utterance for sample in self.samples]

    @property
    def audio_s(self) -> float:
        """Total seconds of speech."""
        return sum(sample.samples for sample in self.samples) / SAMPLE_RATE


def load_dataset(
    source: Path,
    rules: Rules,
    *,
    min_usable: int | float = 1,
    cache_bytes: int,
    progress: bool = True,
) -> Dataset:
    """Read and check the utterances of ``source``.

    Args:
        min_usable: fewest usable utterances: a count (int) or a share of all entries (float).
        cache_bytes: most 16-bit audio to hold in memory; the rest is decoded again in each epoch.

    Raises:
        DataError: ``source`` is no manifest, or fewer than ``min_usable`` utterances (or none) are usable.
    """
    entries = read_entries(source)
    problems = [entry for entry in entries if isinstance(entry, Problem)]
    utterances = [entry for entry in entries if isinstance(entry, Utterance)]
    samples: list[Sample] = []
    cached: dict[int, npt.NDArray[np.int16]] = {}
    free = cache_bytes
    for result in in_threads(lambda utterance: _check(utterance, rules), utterances, source.name, progress):
        if isinstance(result, Problem):
            problems.append(result)
            continue
        sample, stored = result
        if stored.nbytes <= free:
            cached[len(samples)] = stored
            free -= stored.nbytes
        samples.append(sample)
    usable_s = sum(sample.samples for sample in samples) / SAMPLE_RATE
    doubts = [doubt for sample in samples for doubt in sample.doubts]
    doubts += other_texts(sample.utterance for sample in samples)
    report = DataReport(
        str(source), len(entries), len(samples), usable_s, tuple(problems), tuple(doubts), tags_of(utterances)
    )
    check_usable(report, min_usable)
    return Dataset(tuple(samples), report, rules.limits, cached)


def _check(utterance: Utterance, rules: Rules) -> Problem | tuple[Sample, npt.NDArray[np.int16]]:
    """Check one utterance. The text is checked first, since that is cheap."""

    def problem(reason: Reason, detail: object) -> Problem:
        return Problem(utterance.id, str(utterance.audio), reason, str(detail))

    text = rules.text(utterance.text)
    if not normalise(text):
        return problem("empty text", f"{utterance.text!r} holds no word")
    pieces = tuple(rules.tokens.encode(text))
    if not pieces:
        return problem("text has no tokens", f"{text!r}")
    if rules.symbols.unknown in pieces:
        return problem(
            "text outside the vocabulary", f"{text!r} holds letters that the base has no token for"
        )
    needed = rules.frames_needed(pieces)
    if needed > rules.window_frames:
        return problem(
            "text too long for the CTC",
            f"{needed} frames for {len(pieces)} tokens, the window has {rules.window_frames}",
        )
    if rules.most_pieces is not None and len(pieces) > rules.most_pieces:
        return problem(
            "text too long for the decoder",
            f"{len(pieces)} tokens, the base says {rules.most_pieces}",
        )
    if missing := why_missing(utterance.audio):
        return problem("missing file", missing)
    try:
        read = read_section(utterance, rules.limits)
    except AudioTooLongError as error:
        return problem("too long for the window", error)
    except (AudioError, OSError) as error:
        return problem("unreadable audio", error)
    wave = read.waves[0]
    if len(wave) < MIN_DURATION_S * SAMPLE_RATE:
        return problem(
            "too short", f"{len(wave) / SAMPLE_RATE:.3f} s, at least {MIN_DURATION_S} s are needed"
        )
    stored = _int16(wave)
    doubts = tuple(doubts_of(utterance, wave, read.warnings[0]))
    return Sample(utterance, pieces, len(wave), zlib.crc32(stored.tobytes()), needed, doubts), stored


def _int16(wave: FloatArray) -> npt.NDArray[np.int16]:
    return np.clip(np.rint(wave * _INT16_SCALE), -32768, 32767).astype(np.int16)


def in_threads[T, R](
    function: Callable[[T], R], items: Iterable[T], name: str, progress: bool
) -> Iterator[R]:
    """Yield results in order from threads; decoders and resamplers release the interpreter lock."""
    items = list(items)
    workers = min(16, os.cpu_count() or 1)
    with (
        ThreadPoolExecutor(workers) as pool,
        progress_bar(total=len(items), desc=f"reading {name}", unit="utt", disable=not progress) as bar,
    ):
        chunk = workers * 8
        for start in range(0, len(items), chunk):
            for result in pool.map(function, items[start : start + chunk]):
                bar.update()
                yield result
