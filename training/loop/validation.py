"""Loss and token accuracy of a model on held-out utterances, in the full window without randomness."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

import torch

from ssvd_asr.base.learner import Learner
from ssvd_asr.progress import progress_bar
from training.corpus.batches import validation_batches
from training.corpus.dataset import Dataset
from training.corpus.prefetch import prefetch
from training.corpus.prompts import PromptSymbols
from training.loop.interrupt import Stop, StoppedError
from training.loop.processes import ALONE, Processes

VALIDATION_BATCH = 16  # utterances


@dataclass(frozen=True)
class Validation:
    """Means over a data set."""

    loss: float  # per utterance, CTC and attention weighted as in training
    # Share of target tokens (times and <eos> too) that are the most likely, given those before; for a base
    # without a decoder, 1 less the errors of its best path for each token.
    accuracy: float


def validate(
    learner: Learner,
    data: Dataset,
    symbols: PromptSymbols,
    device: torch.device,
    show_progress: bool = True,
    processes: Processes = ALONE,
    stop: Stop = lambda: False,
) -> Validation:
    """Evaluate the learner's network as it is and restore its modes. The processes share the batches.

    Raises StoppedError before the next batch once ``stop()`` is true.
    """
    builders = list(validation_batches(data, symbols, VALIDATION_BATCH))
    turns = processes.turns(len(builders))
    seen = torch.zeros(len(builders), 4, dtype=torch.float64)  # loss, correct tokens, tokens, utterances
    with (
        closing(prefetch(builders[turn.index] for turn in turns)) as batches,
        learner.validation(),
        torch.no_grad() if processes.sharded else torch.inference_mode(),
    ):
        bar = progress_bar(
            iterable=turns, total=len(turns), desc="validating", unit="batch", leave=False,
            disable=not show_progress,
        )  # fmt: skip
        for turn, batch in zip(bar, batches, strict=True):
            if stop():
                raise StoppedError
            targets = float((batch["text_lengths"] + 1).sum())  # and <eos>
            value, stats = learner.loss({name: tensor.to(device) for name, tensor in batch.items()})
            rows = len(batch["speech"])
            if turn.weight:
                found = [float(value) * rows, float(stats["acc"]) * targets, targets, rows]
                seen[turn.index] = torch.tensor(found, dtype=seen.dtype)
    # Summed in the batches' order: bit-identical for any number of processes.
    loss, correct, tokens, utterances = (sum(column) for column in processes.total(seen).T.tolist())
    return Validation(loss / utterances, correct / tokens)
