"""Rows hold every utterance once, and a joined row never outgrows its part of the window."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from tests.training.corpus.test_batches import FRAMES, WINDOW, dataset
from training.corpus.dataset import Dataset
from training.corpus.joining import MAX_GAP_SAMPLES
from training.corpus.rows import Row, Rows


def rows_of(data: Dataset, share: float, seed: int = 0) -> list[Row]:
    return Rows(data, share, WINDOW, FRAMES).of_pass(np.random.default_rng(seed))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("count", [1, 2, 157])
def test_every_utterance_is_in_one_row_and_at_most_the_share_is_joined(share: float, count: int) -> None:
    rows = rows_of(dataset(count, longest=WINDOW // 3), share)
    assert Counter(index for row in rows for index in row) == Counter(range(count))
    assert sum(len(row) for row in rows if len(row) > 1) <= round(share * count)


def test_most_utterances_that_are_drawn_are_joined_if_they_are_short() -> None:
    rows = rows_of(dataset(400, longest=WINDOW // 5), 0.5)
    lengths = Counter(len(row) for row in rows)
    assert sum(length * count for length, count in lengths.items() if length > 1) >= 190
    assert lengths[2] > lengths[3] > lengths[4] > 0  # each addition ends the row with probability 0.6


def test_joined_rows_stay_within_their_part_of_the_window() -> None:
    data = dataset(300)
    joined = [row for row in rows_of(data, 1.0) if len(row) > 1]
    assert len(joined) > 30
    for row in joined:
        audio = sum(data.samples[i].samples for i in row) + (len(row) - 1) * MAX_GAP_SAMPLES
        assert audio <= 0.8 * WINDOW


def test_utterances_whose_tokens_would_not_fit_the_window_together_are_not_joined() -> None:
    assert all(len(row) == 1 for row in rows_of(dataset(50, needed=FRAMES // 2, longest=16_000), 1.0))
    few = rows_of(dataset(50, needed=FRAMES // 4, longest=16_000), 1.0)
    assert {len(row) for row in few} == {2, 3}


def test_a_row_is_padded_for_its_longest_audio_and_for_all_its_tokens() -> None:
    data = dataset(9, needed=60, longest=16_000)
    rows = Rows(data, 1.0, WINDOW, FRAMES)
    assert rows.length((3, 5)) * FRAMES / WINDOW >= 60 + 60 + 1
    short = Rows(dataset(9, needed=1, longest=32_000), 1.0, WINDOW, FRAMES)
    samples = dataset(9, longest=32_000).samples
    assert short.length((3, 5)) == samples[3].samples + samples[5].samples + MAX_GAP_SAMPLES


def test_rows_differ_from_pass_to_pass_and_are_the_same_for_one_generator() -> None:
    data = dataset(60, longest=WINDOW // 4)
    assert rows_of(data, 0.5, seed=1) == rows_of(data, 0.5, seed=1) != rows_of(data, 0.5, seed=2)
