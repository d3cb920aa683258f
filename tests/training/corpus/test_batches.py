"""Batches are a function of recipe, lengths and place; every utterance is met once a pass."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from ssvd_asr.manifests.utterances import Utterance
from training.corpus.batches import BatchPlan, Plan, training_batch
from training.corpus.dataset import Dataset, Sample
from training.corpus.joining import FADE_SAMPLES
from training.corpus.prompts import PromptSymbols
from training.corpus.report import DataReport
from training.recipe import NANO, OWSM, Recipe

WINDOW, FRAMES = 15 * 16_000, 186
TICK = 320
SYMBOLS = PromptSymbols(
    (1, 2), 3, first_time=1000, last_time=1750, na=4, unknown=5, samples_per_tick=TICK, window_samples=WINDOW
)


def dataset(count: int, needed: int = 5, longest: int = WINDOW) -> Dataset:
    lengths = np.random.default_rng(3).integers(8_000, longest, count)
    samples = tuple(
        Sample(Utterance(str(i), Path(), ""), (1,), int(length), 0, needed)
        for i, length in enumerate(lengths)
    )
    return Dataset(samples, DataReport("", count, count, 0.0, ()), None, {})  # type: ignore[arg-type]


def small(recipe: Recipe) -> Recipe:
    return recipe.changed(min_batches_per_epoch=1, max_batches_per_epoch=None)


def bursts() -> Dataset:
    """Half a second of ones each, between silences; the pieces are 10, 11, 12, ..."""
    data = dataset(6)
    wave = np.pad(np.full(8_000, 32767, np.int16), (3_000, 5_000))
    samples = tuple(replace(s, pieces=(10 + i,), samples=len(wave)) for i, s in enumerate(data.samples))
    return replace(data, samples=samples, cached=dict.fromkeys(range(6), wave))


@pytest.mark.parametrize("recipe", [NANO, NANO.changed(joined_share=1.0), OWSM])
def test_each_pass_meets_every_utterance_once_within_the_bounds(recipe: Recipe) -> None:
    data = dataset(157)
    plan = Plan(small(recipe), data, WINDOW, FRAMES)
    batches = plan.epoch(0)
    assert Counter(i for batch in batches for row in batch.rows for i in row) == Counter(range(157))
    assert sum(batch.utterances for batch in batches) == 157
    for batch in batches:
        assert len(batch.rows) <= (recipe.batch_utterances or 157)
        assert batch.padded_s <= (recipe.batch_audio_s or 1e9) or len(batch.rows) == 1
        longest = max(sum(data.samples[i].samples for i in row) for row in batch.rows)
        assert longest <= batch.padded_samples <= WINDOW
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
    met = Counter(i for batches in epochs for batch in batches for row in batch.rows for i in row)
    assert max(met.values()) - min(met.values()) <= 1
    assert plan.total_steps == 4 * -(-len(epochs[0]) // recipe.accumulation)


def test_padding_leaves_the_ctc_a_frame_for_every_token() -> None:
    data = dataset(40, needed=150)
    for batch in Plan(small(NANO), data, WINDOW, FRAMES).epoch(0):
        assert batch.padded_samples * FRAMES / WINDOW >= 150


@pytest.mark.parametrize(
    ("recipe", "first", "digest"),
    [
        (NANO, BatchPlan(((108,), (36,), (98,)), 194_522), "fb3f4baa332ba1e4"),
        (
            OWSM,
            BatchPlan(((3,), (104,), (72,), (131,), (79,), (86,), (54,), (4,)), WINDOW),
            "e76926e9530b34fa",
        ),
    ],
    ids=["nano", "owsm"],
)
def test_without_joining_batches_are_those_from_before_rows(
    recipe: Recipe, first: BatchPlan, digest: str
) -> None:
    """First batch, and digest of three epochs, as recorded before utterances could be joined."""
    plan = Plan(small(recipe).changed(joined_share=0.0), dataset(157), WINDOW, FRAMES)
    assert plan.epoch(0)[0] == first
    batches = [batch for epoch in range(3) for batch in plan.epoch(epoch)]
    told = [(tuple(i for row in batch.rows for i in row), batch.padded_samples) for batch in batches]
    assert sha256(repr(told).encode()).hexdigest().startswith(digest)


@pytest.mark.parametrize("silence_s", [0.0, 1.0])
def test_the_times_of_a_joined_row_are_where_its_utterances_are_heard(silence_s: float) -> None:
    recipe = NANO.changed(timestamp_share=1.0, initial_silence_s=silence_s)
    plan = BatchPlan(((4, 0, 2), (3,), (1, 5)), 100_000)
    batch = training_batch(bursts(), plan, SYMBOLS, recipe, epoch=1, position=2)
    assert batch["text_ctc"].tolist() == [[14, 10, 12], [13, -1, -1], [11, 15, -1]]
    for row, utterances in enumerate(plan.rows):
        text = [token for token in batch["text"][row].tolist() if token >= 0]
        assert text[:2] == list(SYMBOLS.head)
        assert text[3::3] == [10 + i for i in utterances]
        # Half faded is where an utterance is heard to start and end, though nothing lies between two of them.
        edges = np.flatnonzero(np.diff(batch["speech"][row].numpy() > 0.5, prepend=False))
        starts, ends = (np.array(text[first::3]) - SYMBOLS.first_time for first in (2, 4))
        if len(utterances) == 1:  # its silent ends stay
            assert (ends - starts).tolist() == [16_000 // TICK]
            continue
        # Half a tick each for the silence in front and for the place in the row, which are rounded apart.
        nearly = TICK + FADE_SAMPLES // 2
        assert np.abs(TICK * starts - edges[::2]).max() <= nearly
        assert np.abs(TICK * ends - edges[1::2]).max() <= nearly
        assert len(edges) == 2 * len(utterances)


def test_a_batch_is_the_same_for_its_place_and_another_elsewhere() -> None:
    plan = BatchPlan(((4, 0, 2), (1, 5)), 100_000)

    def speech(epoch: int, position: int) -> list[list[float]]:
        found: list[list[float]] = training_batch(bursts(), plan, SYMBOLS, NANO, epoch, position)[
            "speech"
        ].tolist()
        return found

    assert speech(0, 3) == speech(0, 3)
    assert speech(0, 3) != speech(0, 4)
    assert speech(0, 3) != speech(1, 3)


def test_rows_without_times_hold_the_texts_one_after_the_other() -> None:
    recipe = NANO.changed(timestamp_share=0.0)
    batch = training_batch(bursts(), BatchPlan(((4, 0, 2),), 100_000), SYMBOLS, recipe, 0, 0)
    assert batch["text"].tolist() == [[*SYMBOLS.head, SYMBOLS.notimestamps, 14, 10, 12]]
