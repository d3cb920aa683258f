"""Cutting long audio: no speech is lost, no stretch is longer than the window, silence costs nothing."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters_store.packaged import PACKAGED
from ssvd_asr.audio.read import read_audio
from ssvd_asr.audio.segment import (
    FRAME_SAMPLES,
    MARGIN_FRAMES,
    SPEECH_PROBABILITY,
    Span,
    cut,
    find_spans,
    high_voice_probabilities,
    speech_probabilities,
)
from ssvd_asr.errors import AudioError
from tests.speechlike import babble

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


@pytest.mark.parametrize("level", [0.0, 3e-5, 1e-3, 0.3])
@pytest.mark.parametrize("slope", [0, 1, 2])  # of the spectrum: white, pink, brown
def test_noise_and_silence_are_not_speech(level: float, slope: int) -> None:
    spectrum = np.fft.rfft(np.random.default_rng(slope).standard_normal(20 * 16_000))
    spectrum[1:] /= np.arange(1, len(spectrum)) ** (slope / 2)
    noise = np.fft.irfft(spectrum)
    heard = np.round(32768 * level * noise / np.abs(noise).max()) / 32768  # as a 16 bit file holds it
    assert find_spans(heard.astype(np.float32), 15 * 16_000) == []


def test_no_shipped_clip_of_a_child_is_taken_for_silence_or_cut() -> None:
    """The first look alone missed one clip in fifty: the recogniser then answered with no words at all."""
    clips = sorted((PACKAGED / "child" / "samples").glob("*.opus"))
    assert len(clips) >= 100
    wrong: list[Path] = []
    for clip in clips:
        wave = read_audio(clip)
        if find_spans(wave, 15 * 16_000) != [Span(0, len(wave))]:
            wrong.append(clip)
    assert not wrong


def test_the_second_look_is_taken_only_where_the_first_was_not_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def second(_: np.ndarray) -> np.ndarray:
        raise LookupError

    monkeypatch.setattr("ssvd_asr.audio.segment.high_voice_probabilities", second)
    wave = babble(3)
    assert find_spans(wave, len(wave)) == [Span(0, len(wave))]
    for unsure, window in ((wave, len(wave) // 2), (np.zeros_like(wave), len(wave))):
        with pytest.raises(LookupError):
            find_spans(unsure, window)


@pytest.mark.parametrize("look", [speech_probabilities, high_voice_probabilities])
def test_each_look_gives_one_probability_a_frame_where_the_speech_is(
    look: Callable[[np.ndarray], np.ndarray],
) -> None:
    wave = np.concatenate([np.zeros(40_000, np.float32), babble(2), np.zeros(40_001, np.float32)])
    probabilities = look(wave)
    assert probabilities.shape == (math.ceil(len(wave) / FRAME_SAMPLES),)
    speech = np.flatnonzero(probabilities >= SPEECH_PROBABILITY) * FRAME_SAMPLES
    assert 38_000 < speech[0] < 48_000
    assert 55_000 < speech[-1] < 78_000  # the last vowel fades; the network lets go a few frames late
    for samples in (0, 1, 512, 513):
        assert look(wave[40_000 : 40_000 + samples]).shape == (math.ceil(samples / FRAME_SAMPLES),)


@pytest.mark.parametrize("look", [speech_probabilities, high_voice_probabilities])
def test_probabilities_do_not_depend_on_the_blocks(
    look: Callable[[np.ndarray], np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """LSTM state and context are handed from block to block, and slowing down sees across their edges."""
    time_s = np.arange(3 * 16_000) / 16_000
    wave = (np.sin(2 * np.pi * 140 * time_s) * np.sin(2 * np.pi * 3 * time_s)).astype(np.float32)
    whole = look(wave)
    monkeypatch.setattr("ssvd_asr.audio.segment.BLOCK_FRAMES", 6)
    assert whole.shape == (94,)
    np.testing.assert_allclose(look(wave), whole, atol=1e-5)


def test_cutting_imports_neither_torch_nor_silero_vad() -> None:
    """silero_vad's import would set torch to one thread for the whole process."""
    probe = (
        "import sys, numpy as np\n"
        "from ssvd_asr.audio.segment import find_spans\n"
        "find_spans(np.zeros(16000, np.float32), 240000)\n"
        "sys.exit(1 if {'torch', 'silero_vad'} & set(sys.modules) else 0)"
    )
    assert subprocess.run([sys.executable, "-c", probe], check=False).returncode == 0
