"""Batches are a function of recipe, lengths and place; every utterance is met once a pass."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from training.corpus.batches import Plan
from training.corpus.dataset import DataReport, Dataset, Sample
from training.corpus.utterances import Utterance
from training.recipe import NANO, OWSM, Recipe

WINDOW, FRAMES = 15 * 16_000, 186


def dataset(count: int, needed: int = 5) -> Dataset:
    lengths = np.random.default_rng(3).integers(8_000, WINDOW, count)
    samples = tuple(
        Sample(Utterance(str(i), Path(), ""), (1,), int(length), 0, needed)
        for i, length in enumerate(lengths)
    )
    return Dataset(samples, DataReport("", count, count, 0.0, ()), None, {})  # type: ignore[arg-type]


def small(recipe: Recipe) -> Recipe:
    return recipe.changed(min_batches_per_epoch=1, max_batches_per_epoch=None)


@pytest.mark.parametrize("recipe", [NANO, OWSM])
def test_each_pass_meets_every_utterance_once_within_the_bounds(recipe: Recipe) -> None:
    data = dataset(157)
    plan = Plan(small(recipe), data, WINDOW, FRAMES)
    batches = plan.epoch(0)
    assert Counter(i for batch in batches for i in batch.indices) == Counter(range(157))
    for batch in batches:
        assert len(batch.indices) <= (recipe.batch_utterances or 157)
        assert batch.padded_s <= (recipe.batch_audio_s or 1e9) or len(batch.indices) == 1
        assert max(data.samples[i].samples for i in batch.indices) <= batch.padded_samples <= WINDOW
    full = sum(batch.padded_samples == WINDOW for batch in batches)
    assert full == len(batches) if recipe.padding == "window" else 0 < full < len(batches)


def test_an_epoch_is_the_same_whenever_it_is_asked_for_and_differs_from_the_others() -> None:
    data = dataset(60)
    first, again = Plan(small(NANO), data, WINDOW, FRAMES), Plan(small(NANO), data, WINDOW, FRAMES)
    first.epoch(0)
    assert first.epoch(2) == again.epoch(2)
    assert first.epoch(1) != first.epoch(2)
    assert first.epoch(0) != Plan(small(NANO).changed(seed=1), data, WINDOW, FRAMES).epoch(0)


@pytest.mark.parametrize(("least", "most"), [(50, 50), (50, None), (1, 7)])
def test_epochs_of_a_stated_length_go_through_the_data_without_a_gap(least: int, most: int | None) -> None:
    recipe = OWSM.changed(min_batches_per_epoch=least, max_batches_per_epoch=most, epochs=4)
    plan = Plan(recipe, dataset(80), WINDOW, FRAMES)  # 10 batches a pass
    epochs = [plan.epoch(number) for number in range(4)]
    assert {len(batches) for batches in epochs} == {least if least > 1 else most}
    met = Counter(i for batches in epochs for batch in batches for i in batch.indices)
    assert max(met.values()) - min(met.values()) <= 1
    assert plan.total_steps == 4 * -(-len(epochs[0]) // recipe.accumulation)


def test_padding_leaves_the_ctc_a_frame_for_every_token() -> None:
    data = dataset(40, needed=150)
    for batch in Plan(small(NANO), data, WINDOW, FRAMES).epoch(0):
        assert batch.padded_samples * FRAMES / WINDOW >= 150
