"""Cutting long audio: no speech is lost, no stretch is longer than the window, silence costs nothing."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssvd_asr.errors import AudioError
from ssvd_asr.segment import (
    FRAME_SAMPLES,
    MARGIN_FRAMES,
    SPEECH_PROBABILITY,
    Span,
    cut,
    find_spans,
    speech_probabilities,
)

WINDOW = 40 * FRAME_SAMPLES + 100  # not a whole number of frames on purpose


def runs(*lengths_and_values: tuple[int, float]) -> list[float]:
    return [value for length, value in lengths_and_values for _ in range(length)]


@st.composite
def recordings(draw: st.DrawFn) -> tuple[list[float], int]:
    """Probabilities and a length in samples that they belong to."""
    parts = draw(st.lists(st.tuples(st.integers(1, 90), st.floats(0, 1)), min_size=1, max_size=12))
    frames = runs(*parts)
    samples = (len(frames) - 1) * FRAME_SAMPLES + draw(st.integers(1, FRAME_SAMPLES))
    return frames, samples


@given(recordings())
def test_every_frame_of_speech_is_in_a_span_and_no_span_is_longer_than_the_window(
    recording: tuple[list[float], int],
) -> None:
    frames, samples = recording
    spans = cut(frames, samples, WINDOW)
    assert all(0 < len(span) <= WINDOW for span in spans)
    assert all(a.stop <= b.start for a, b in pairwise([Span(0, 0), *spans, Span(samples, samples)]))
    covered = np.zeros(samples, dtype=bool)
    for span in spans:
        covered[span.start : span.stop] = True
    for index, probability in enumerate(frames):
        if probability >= np.float32(SPEECH_PROBABILITY):
            assert covered[index * FRAME_SAMPLES : (index + 1) * FRAME_SAMPLES].all()


def test_audio_that_fits_the_window_is_left_whole() -> None:
    frames = runs((10, 0.0), (5, 0.9), (10, 0.0))
    assert cut(frames, 25 * FRAME_SAMPLES, WINDOW) == [Span(0, 25 * FRAME_SAMPLES)]


def test_audio_without_speech_has_no_spans() -> None:
    assert cut(runs((500, 0.1)), 500 * FRAME_SAMPLES, WINDOW) == []
    assert cut([], 0, WINDOW) == []


def test_the_cut_falls_in_the_middle_of_the_longest_silence_of_the_second_half() -> None:
    frames = runs((10, 0.9), (8, 0.0), (7, 0.9), (4, 0.0), (3, 0.9), (2, 0.0), (30, 0.9))
    first, second = cut(frames, len(frames) * FRAME_SAMPLES, WINDOW)
    assert first == Span(0, 27 * FRAME_SAMPLES)  # silence of frames 25-28; that of 10-17 is in the first half
    assert second.start == first.stop


def test_speech_without_silence_is_cut_where_it_is_least_sure() -> None:
    frames = runs((30, 0.9), (1, 0.5), (29, 0.9))
    first, _ = cut(frames, len(frames) * FRAME_SAMPLES, WINDOW)
    assert first.stop == 30 * FRAME_SAMPLES + FRAME_SAMPLES // 2


def test_silence_between_stretches_is_not_decoded() -> None:
    frames = runs((20, 0.9), (200, 0.0), (20, 0.9))
    first, second = cut(frames, len(frames) * FRAME_SAMPLES, WINDOW)
    assert first.start == 0
    assert second.start == (220 - MARGIN_FRAMES) * FRAME_SAMPLES


def test_a_window_too_short_to_cut_is_refused() -> None:
    with pytest.raises(AudioError, match="1000 samples"):
        cut([0.9], 100, 1000)


@pytest.mark.parametrize("level", [0.0, 1e-3, 0.3])
def test_noise_and_silence_are_not_speech(level: float) -> None:
    noise = (np.random.default_rng(0).standard_normal(20 * 16_000) * level).astype(np.float32)
    assert find_spans(noise, 15 * 16_000) == []


def test_probabilities_do_not_depend_on_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """LSTM state and context are handed from block to block."""
    time_s = np.arange(3 * 16_000) / 16_000
    wave = (np.sin(2 * np.pi * 140 * time_s) * np.sin(2 * np.pi * 3 * time_s)).astype(np.float32)
    whole = speech_probabilities(wave)
    monkeypatch.setattr("ssvd_asr.segment.BLOCK_FRAMES", 7)
    assert whole.shape == (94,)
    np.testing.assert_allclose(speech_probabilities(wave), whole, atol=1e-5)


def test_cutting_imports_neither_torch_nor_silero_vad() -> None:
    """silero_vad's import would set torch to one thread for the whole process."""
    probe = (
        "import sys, numpy as np\n"
        "from ssvd_asr.segment import find_spans\n"
        "find_spans(np.zeros(16000, np.float32), 240000)\n"
        "sys.exit(1 if {'torch', 'silero_vad'} & set(sys.modules) else 0)"
    )
    assert subprocess.run([sys.executable, "-c", probe], check=False).returncode == 0
