"""Rows of owsm-nano's training: joined as planned, everything spoken once, nothing over the window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch

from recipes.espeak import batches
from recipes.espeak.batches import Entry, fill_phonemes, join, plan, read_row, row_s


@pytest.fixture
def entries() -> list[Entry]:
    rng = np.random.default_rng(0)
    return [Entry(Path(f"{i}.wav"), f"text {i}", float(d)) for i, d in enumerate(rng.uniform(1, 8, 200))]


def test_joining_speaks_every_utterance_once_and_keeps_to_the_window(entries: list[Entry]) -> None:
    rows = join(entries, 0.6, np.random.default_rng(1))
    assert sorted(e.text for row in rows for e in row) == sorted(e.text for e in entries)
    assert max(map(row_s, rows)) <= batches.LONGEST_ROW_S
    assert 0.2 < sum(len(row) for row in rows if len(row) > 1) / len(entries) < 0.6


def test_without_a_share_every_utterance_has_its_own_row(entries: list[Entry]) -> None:
    assert {len(row) for row in join(entries, 0.0, np.random.default_rng(1))} == {1}


def test_batches_keep_to_their_budget(entries: list[Entry]) -> None:
    rows = join(entries, 0.6, np.random.default_rng(1))
    planned = plan(rows, 20.0, 15.0, np.random.default_rng(2))
    assert sum(map(len, planned)) == len(rows)
    for batch in planned:
        assert len(batch) == 1 or len(batch) * max(map(row_s, batch)) <= 20.0


def test_joined_utterances_follow_one_another_after_a_pause(tmp_path: Path) -> None:
    row = []
    for name, level in (("a", 0.25), ("b", 0.5)):
        sf.write(tmp_path / f"{name}.wav", np.full(16_000, level, dtype=np.float32), 16_000)
        row.append(Entry(tmp_path / f"{name}.wav", name, 1.0))
    wave, starts_s = read_row(tuple(row), 10**6)
    assert starts_s == [0.0, 1.0 + batches.PAUSE_S]
    assert len(wave) == round((2.0 + batches.PAUSE_S) * 16_000)
    assert (wave[8_000], wave[16_100], wave[-1]) == (0.25, 0.0, 0.5)


def test_phonemes_of_a_second_utterance_leave_the_first_alone() -> None:
    frames = torch.full((10, 2), -1)
    fill_phonemes(frames, 0.0, ((3, 0),))
    fill_phonemes(frames, 0.4, ((5, 0),))  # frame 4 is half and half: centres 0.37, 0.41 s
    assert frames[:4].unique().tolist() == [3]
    assert frames[5:].unique().tolist() == [5]
