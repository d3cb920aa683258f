"""Joined audio: every utterance whole where its span says, and gaps that the generator decides."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from training.corpus.joining import FADE_SAMPLES, MAX_GAP_SAMPLES, FloatArray, faded, joined, trimmed


def burst(length: int, before: int = 0, after: int = 0) -> FloatArray:
    """Ones between silences."""
    return np.pad(np.ones(length, np.float32), (before, after))


def gaps(seed: int, count: int = 400) -> list[int]:
    _, spans = joined([burst(300)] * (count + 1), np.random.default_rng(seed))
    return [start - end for (_, end), (start, _) in pairwise(spans)]


def test_spans_hold_the_utterances_without_their_silent_ends() -> None:
    waves = [burst(1000, 500, 300), burst(2000, 0, 700), burst(400, 900, 0)]
    wave, spans = joined(waves, np.random.default_rng(0))
    assert [end - start for start, end in spans] == [1000, 2000, 400]
    assert (spans[0][0], spans[-1][1], wave.dtype.name) == (0, len(wave), "float32")
    inside = np.zeros(len(wave), bool)
    for start, end in spans:
        inside[start:end] = True
        assert (wave[start + FADE_SAMPLES : end - FADE_SAMPLES] == 1).all()
        assert wave[start] == wave[end - 1] == 0
    assert not wave[~inside].any()


def test_a_joint_never_steps_more_than_a_fade_does() -> None:
    wave, _ = joined([burst(1000)] * 20, np.random.default_rng(1))
    assert np.abs(np.diff(wave)).max() <= 1.01 / (FADE_SAMPLES - 1)


def test_a_third_of_the_joints_has_no_gap_and_none_a_longer_one_than_planned() -> None:
    drawn = np.array(gaps(0))
    assert 0.25 < (drawn == 0).mean() < 0.42
    assert 0.2 < (drawn > 0.15 * 16_000).mean() < 0.4
    assert drawn.max() <= MAX_GAP_SAMPLES
    assert gaps(0) == gaps(0) != gaps(1)


@pytest.mark.parametrize("wave", [np.zeros(50, np.float32), np.zeros(0, np.float32), burst(1)])
def test_silence_and_single_samples_are_joined_as_they_are(wave: FloatArray) -> None:
    row, spans = joined([burst(300), wave, wave], np.random.default_rng(0))
    assert [end - start for start, end in spans] == [300, len(wave), len(wave)]
    assert np.isfinite(row).all()
    np.testing.assert_array_equal(row[slice(*spans[1])], wave)


def test_trimming_keeps_the_quiet_parts_between_loud_ones() -> None:
    wave = np.array([0, 0.0009, 0.5, 0, 0, 1, 0.001, 0.0009], np.float32)
    np.testing.assert_array_equal(trimmed(wave), wave[2:7])


def test_fading_leaves_the_wave_itself_alone() -> None:
    wave = burst(1000)
    assert not np.array_equal(faded(wave), wave)
    assert (wave == 1).all()
