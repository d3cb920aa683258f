"""Loss and token accuracy of a model on held-out utterances, in the full window, nothing random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from tqdm import tqdm

from training.batches import validation_batches
from training.data import Dataset
from training.mode import validation_mode
from training.prefetch import prefetch
from training.prompts import PromptSymbols

VALIDATION_BATCH = 16  # utterances


@dataclass(frozen=True)
class Validation:
    """Means over a whole data set."""

    loss: float  # per utterance, ctc and attention weighted as in training
    accuracy: (
        float  # share of target tokens (times and <eos> too) that are the most likely, given those before
    )


def validate(
    network: Any, data: Dataset, symbols: PromptSymbols, device: torch.device, show_progress: bool = True
) -> Validation:
    """Evaluate ``network`` as it stands; its modes are put back."""
    loss = correct = tokens = utterances = 0.0
    total = -(-len(data.samples) // VALIDATION_BATCH)
    batches = prefetch(validation_batches(data, symbols, VALIDATION_BATCH))
    with validation_mode(network), torch.inference_mode():
        for batch in tqdm(batches, "validating", total, leave=False, disable=not show_progress):
            targets = float((batch["text_lengths"] + 1).sum())  # and <eos>
            value, stats, _ = network(**{name: tensor.to(device) for name, tensor in batch.items()})
            rows = len(batch["speech"])
            loss += float(value) * rows
            correct += float(stats["acc"]) * targets
            tokens += targets
            utterances += rows
    return Validation(loss / utterances, correct / tokens)
