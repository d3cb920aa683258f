"""Waves that a voice activity detector takes for speech, made without a speech synthesiser."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
import numpy.typing as npt
import soundfile

RATE = 16_000
VOWELS = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (660, 1720, 2410))

FloatArray = npt.NDArray[np.float32]


@cache
def babble(duration_s: float, seed: int = 3) -> FloatArray:
    """Glottal pulses through three formants, a new vowel every quarter of a second; (samples,) at 16 kHz."""
    generator = np.random.default_rng(seed)
    wave = np.zeros(int(duration_s * RATE))
    position = 0
    while position < len(wave):
        syllable = _syllable(generator)
        room = min(len(syllable), len(wave) - position)
        wave[position : position + room] += syllable[:room]
        position += int(0.9 * len(syllable))
    scaled: FloatArray = (0.4 * wave / np.abs(wave).max()).astype(np.float32)
    return scaled


def phrases(count: int, duration_s: float = 3.0, gap_s: float = 3.0) -> FloatArray:
    """The same babble so many times, with silence between."""
    silence = np.zeros(round(gap_s * RATE), np.float32)
    parts = [babble(duration_s), *(count - 1) * [silence, babble(duration_s)]]
    return np.concatenate(parts)


def wav_bytes(wave: FloatArray, rate: int = RATE) -> bytes:
    """A 16 bit WAV file."""
    out = io.BytesIO()
    soundfile.write(out, wave, rate, format="WAV", subtype="PCM_16")
    return out.getvalue()


def _syllable(generator: np.random.Generator) -> npt.NDArray[np.float64]:
    length = int(RATE * generator.uniform(0.15, 0.3))
    pitch_hz = generator.uniform(100, 160)
    pulses = np.zeros(length)
    position = 0.0
    while position < length:
        pulses[int(position)] = 1
        position += RATE / (pitch_hz * (1 + 0.1 * np.sin(3 * position / RATE)))
    time_s = np.arange(800) / RATE
    for formant_hz in VOWELS[generator.integers(len(VOWELS))]:
        ringing = np.exp(-np.pi * 90 * time_s) * np.sin(2 * np.pi * formant_hz * time_s + 0.5)
        pulses = np.convolve(pulses, ringing)[:length]
        pulses /= np.abs(pulses).max()
    return pulses * np.hanning(length)
