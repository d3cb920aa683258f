"""Cutting long audio: no speech is lost, no stretch is longer than the window, silence costs nothing."""

from __future__ import annotations

import math
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters_store.packaged import PACKAGED
from ssvd_asr.audio.read import read_audio
from ssvd_asr.audio.segment import (
    AUTO,
    CutRule,
    Span,
    cut,
    find_spans,
)
from ssvd_asr.audio.speech import FRAME_SAMPLES, high_voice_probabilities, speech_probabilities
from ssvd_asr.errors import AudioError
from tests.speechlike import babble

LONGEST = 40 * FRAME_SAMPLES + 100  # not a whole number of frames on purpose
CONTEXT = 5 * FRAME_SAMPLES
RULE = CutRule(silence_s=10 * FRAME_SAMPLES / 16_000)


def runs(*lengths_and_values: tuple[int, float]) -> list[float]:
    return [value for length, value in lengths_and_values for _ in range(length)]


def spans_of(
    frames: list[float], samples: int | None = None, context: int = 0, levels: list[float] | None = None
) -> list[Span]:
    """Cut by RULE, without any levels where none are given."""
    samples = len(frames) * FRAME_SAMPLES if samples is None else samples
    return cut(frames, [0.0] * len(frames) if levels is None else levels, samples, LONGEST, RULE, context)


@st.composite
def recordings(draw: st.DrawFn) -> tuple[list[float], int]:
    """Probabilities and a length in samples that they belong to."""
    parts = draw(st.lists(st.tuples(st.integers(1, 90), st.floats(0, 1)), min_size=1, max_size=12))
    frames = runs(*parts)
    samples = (len(frames) - 1) * FRAME_SAMPLES + draw(st.integers(1, FRAME_SAMPLES))
    return frames, samples


@settings(deadline=None)  # the machine may be busy
@given(recordings(), st.sampled_from([0, CONTEXT]))
def test_every_frame_of_speech_is_in_one_span_and_no_piece_is_longer_than_a_base_bears(
    recording: tuple[list[float], int], context: int
) -> None:
    frames, samples = recording
    spans = spans_of(frames, samples, context)
    assert all(0 < len(span) <= span.before + len(span) + span.after <= LONGEST for span in spans)
    assert all(span.start - span.before >= 0 and span.stop + span.after <= samples for span in spans)
    assert all(a.stop <= b.start for a, b in pairwise([Span(0, 0), *spans, Span(samples, samples)]))
    covered = np.zeros(samples, dtype=int)
    for span in spans:
        covered[span.start : span.stop] += 1
    for index, probability in enumerate(frames):
        if probability >= np.float32(RULE.speech_probability):
            assert (covered[index * FRAME_SAMPLES : (index + 1) * FRAME_SAMPLES] == 1).all()


@settings(deadline=None)  # the machine may be busy
@given(recordings())
def test_no_piece_holds_a_silence_that_ends_pieces(recording: tuple[list[float], int]) -> None:
    frames, samples = recording
    for span in spans_of(frames, samples):
        inside = np.array(frames[span.start // FRAME_SAMPLES : math.ceil(span.stop / FRAME_SAMPLES)])
        speech = np.flatnonzero(inside >= np.float32(RULE.speech_probability))
        assert all(b - a <= RULE.silence_frames for a, b in pairwise(speech.tolist()))


def test_a_clip_of_one_phrase_is_left_whole() -> None:
    assert spans_of(runs((9, 0.0), (5, 0.9), (25, 0.0))) == [Span(0, 39 * FRAME_SAMPLES)]


def test_a_long_silence_before_and_after_the_speech_is_not_decoded() -> None:
    (span,) = spans_of(runs((250, 0.0), (5, 0.9), (250, 0.0)))
    assert span == Span(245 * FRAME_SAMPLES, 260 * FRAME_SAMPLES)


def test_audio_without_speech_has_no_spans() -> None:
    assert spans_of(runs((500, 0.1))) == []
    assert spans_of([]) == []


def test_two_phrases_share_a_short_silence_in_halves() -> None:
    first, second = spans_of(runs((8, 0.9), (10, 0.0), (8, 0.9)))
    assert (first, second) == (Span(0, 13 * FRAME_SAMPLES), Span(13 * FRAME_SAMPLES, 26 * FRAME_SAMPLES))


def test_speech_without_silence_is_cut_where_it_is_quietest_and_hears_its_neighbours() -> None:
    frames = runs((20, 0.9), (3, 0.4), (25, 0.9))
    first, second = spans_of(frames, context=CONTEXT, levels=frames)
    assert first == Span(0, 21 * FRAME_SAMPLES, after=CONTEXT)
    assert second == Span(21 * FRAME_SAMPLES, 48 * FRAME_SAMPLES, before=CONTEXT)


def test_a_voice_that_the_detector_loses_is_not_taken_for_silence() -> None:
    frames = runs((10, 0.9), (15, 0.0), (10, 0.9))
    assert len(spans_of(frames)) == 2
    levels = runs((10, 0.5), (15, 0.1), (10, 0.5))
    assert spans_of(frames, levels=levels) == [Span(0, 35 * FRAME_SAMPLES)]


def test_pieces_too_short_to_cut_are_refused() -> None:
    with pytest.raises(AudioError, match="1000 samples"):
        cut([0.9], [0.9], 100, 1000)


def test_memory_for_an_hour_does_not_hold_the_hour_again() -> None:
    """All but the answers, 4 bytes a frame of 512 samples, is as large as for two minutes."""
    peaks: list[int] = []
    for minutes in (2, 8):
        wave = np.zeros(minutes * 60 * 16_000, np.float32)
        find_spans(wave[:16_000], 15 * 16_000)  # the network is loaded
        tracemalloc.start()
        find_spans(wave, 15 * 16_000)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 6 * 60 * 16_000 * 4 / 50


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
    speech = np.flatnonzero(probabilities >= AUTO.speech_probability) * FRAME_SAMPLES
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
    monkeypatch.setattr("ssvd_asr.audio.speech.BLOCK_FRAMES", 6)
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
