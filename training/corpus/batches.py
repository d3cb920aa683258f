"""Batches of a run: which rows of utterances train together, in which order and at which padded length.

Batches depend only on the recipe, the lengths and the place in the run. With no sampler state to restore,
a resumed run continues exactly where it stopped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice

import numpy as np
import torch
from torch import Tensor

from ssvd_asr.audio.read import SAMPLE_RATE
from training.corpus.dataset import Dataset
from training.corpus.joining import FloatArray, joined
from training.corpus.prompts import Example, PromptSymbols, Spoken, training_example, validation_example
from training.corpus.rows import Row, Rows
from training.recipe import Recipe

# Purpose of a generator. With the seed and the place in the run it makes the generator's whole seed.
_ORDER, _EXAMPLE, _TORCH, _ROWS = 1, 2, 3, 4
IGNORE_ID = -1  # ESPnet's padding of token ids

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class BatchPlan:
    """One batch before its audio is read."""

    rows: tuple[Row, ...]
    padded_samples: int

    @property
    def utterances(self) -> int:
        """Number of utterances, those of joined rows included."""
        return sum(len(row) for row in self.rows)

    @property
    def padded_s(self) -> float:
        """Seconds of audio the model processes, silence included."""
        return len(self.rows) * self.padded_samples / SAMPLE_RATE


class Plan:
    """The batches of a whole run."""

    def __init__(
        self,
        recipe: Recipe,
        data: Dataset,
        window_samples: int,
        window_frames: int,
        most_pieces: int | None = None,
    ) -> None:
        self.recipe = recipe
        self.window_samples = window_samples
        self._utterances = len(data.samples)
        self._rows = Rows(data, recipe.joined_share, window_samples, window_frames, most_pieces)
        self._room = round(recipe.initial_silence_s * SAMPLE_RATE)
        batches = len(self._pass(0))
        self.batches_per_epoch = max(recipe.min_batches_per_epoch, batches)
        if recipe.max_batches_per_epoch is not None:
            self.batches_per_epoch = min(recipe.max_batches_per_epoch, self.batches_per_epoch)
        self.steps_per_epoch = math.ceil(self.batches_per_epoch / recipe.accumulation)
        self.total_steps = self.steps_per_epoch * recipe.epochs

    def epoch(self, epoch: int) -> list[BatchPlan]:
        """Return the batches of an epoch, a section of the endless stream of passes through the data."""
        start = epoch * self.batches_per_epoch
        return list(islice(self._stream(), start, start + self.batches_per_epoch))

    def _stream(self) -> Iterator[BatchPlan]:
        for number in count():
            yield from self._pass(number)

    def _pass(self, number: int) -> list[BatchPlan]:
        """Return batches of every utterance once: rows of like length together, batches in random order."""
        # Rows have a generator of their own, so that the order does not depend on how they are drawn.
        rows = self._rows.of_pass(np.random.default_rng([self.recipe.seed, _ROWS, number]))
        lengths = np.array([self._rows.length(row) for row in rows])
        rng = np.random.default_rng([self.recipe.seed, _ORDER, number])
        # Jitter by 10 % changes which rows share a batch from pass to pass.
        jittered = lengths * rng.uniform(0.9, 1.1, len(lengths))
        order = np.argsort(-jittered, kind="stable")
        batches: list[BatchPlan] = []
        start = 0
        while start < len(order):
            padded = self._padded_length(lengths[order[start:]], rng)
            size = self._size(padded)
            batches.append(BatchPlan(tuple(rows[i] for i in order[start : start + size]), padded))
            start += size
        return [batches[i] for i in rng.permutation(len(batches))]

    def _padded_length(self, waiting: np.ndarray, rng: np.random.Generator) -> int:
        """Return the window, or for mixed padding a random length that fits the batch's rows.

        waiting: lengths of this batch's rows and of all that follow, in order.
        """
        window = self.window_samples
        full, share = rng.uniform(size=2)
        if self.recipe.padding == "window" or full < self.recipe.window_share:
            return window
        # Because of the jitter later rows may be longer; look at all that may be in this batch.
        ahead = waiting[: self._size(int(waiting.min()))]
        shortest = min(window, int(ahead.max()) + self._room)
        return shortest + int(share**3 * (window - shortest))

    def _size(self, padded_samples: int) -> int:
        recipe = self.recipe
        size = recipe.batch_utterances if recipe.batch_utterances is not None else self._utterances
        if recipe.batch_audio_s is not None:
            size = min(size, int(recipe.batch_audio_s * SAMPLE_RATE / padded_samples))
        return max(1, size)


def training_batch(
    data: Dataset, plan: BatchPlan, symbols: PromptSymbols, recipe: Recipe, epoch: int, position: int
) -> Batch:
    """Read, pad and collate the batch at ``position`` in ``epoch``."""
    silence = round(recipe.initial_silence_s * SAMPLE_RATE)
    examples = []
    for number, row in enumerate(plan.rows):
        rng = np.random.default_rng([recipe.seed, _EXAMPLE, epoch, position, number])
        wave, spoken = _heard(data, row, rng)
        examples.append(
            training_example(
                wave,
                spoken,
                symbols,
                plan.padded_samples,
                initial_silence_samples=silence,
                timestamp_share=recipe.timestamp_share,
                rng=rng,
            )
        )
    return collate(examples, symbols)


def _heard(data: Dataset, row: Row, rng: np.random.Generator) -> tuple[FloatArray, tuple[Spoken, ...]]:
    """Return a row's wave (samples,) and its utterances. One utterance alone stays exactly as it is."""
    if len(row) == 1:
        wave = data.wave(row[0])
        return wave, (Spoken(data.samples[row[0]].pieces, 0, len(wave)),)
    wave, spans = joined([data.wave(index) for index in row], rng)
    spoken = [Spoken(data.samples[i].pieces, *span) for i, span in zip(row, spans, strict=True)]
    return wave, tuple(spoken)


def validation_batches(data: Dataset, symbols: PromptSymbols, size: int) -> Iterator[Callable[[], Batch]]:
    """Yield builders of full-window batches, in the data's order."""
    for start in range(0, len(data.samples), size):
        indices = range(start, min(start + size, len(data.samples)))
        yield lambda indices=indices: collate(  # type: ignore[misc]
            [validation_example(data.wave(i), data.samples[i].pieces, symbols) for i in indices], symbols
        )


def collate(examples: Sequence[Example], symbols: PromptSymbols) -> Batch:
    """Return a batch for `Learner.loss`.

    These are speech (B, padded_samples) float32, text (B, U) and text_ctc (B, V) int64 padded with -1,
    text_prev (B, 1) of <na>, and their lengths (B,). As in ESPnet, the padding silence counts as speech.
    """
    rows = len(examples)
    no_previous = IGNORE_ID if symbols.na is None else symbols.na
    speech = torch.from_numpy(np.stack([example.speech for example in examples]))
    text, text_lengths = _padded([example.text for example in examples])
    text_ctc, text_ctc_lengths = _padded([example.text_ctc for example in examples])
    return {
        "speech": speech,
        "speech_lengths": torch.full((rows,), speech.shape[1], dtype=torch.int64),
        "text": text,
        "text_lengths": text_lengths,
        "text_prev": torch.full((rows, 1), no_previous, dtype=torch.int64),
        "text_prev_lengths": torch.ones(rows, dtype=torch.int64),
        "text_ctc": text_ctc,
        "text_ctc_lengths": text_ctc_lengths,
    }


def _padded(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    lengths = torch.tensor([len(row) for row in rows], dtype=torch.int64)
    padded = torch.full((len(rows), int(lengths.max())), IGNORE_ID, dtype=torch.int64)
    for target, row in zip(padded, rows, strict=True):
        target[: len(row)] = torch.tensor(row, dtype=torch.int64)
    return padded, lengths


def torch_seed(seed: int, epoch: int, position: int) -> int:
    """Return torch's seed for the dropout and masks of one batch."""
    return int(np.random.SeedSequence([seed, _TORCH, epoch, position]).generate_state(1, np.uint64)[0] >> 1)
