"""Offsets, clipping and samples beyond full scale are mended or told, and nothing else is touched."""

import numpy as np
import pytest

from ssvd_asr.audio.read import read_recording
from tests.ssvd_asr.audio_samples import encoded, tone

SOUND = tone(1.0, 16_000, level=0.1)


def _read(samples: np.ndarray, subtype: str = "FLOAT") -> tuple[np.ndarray, tuple[str, ...]]:
    recording = read_recording(encoded(samples, 16_000, "WAV", subtype))
    return recording.waves[0], recording.warnings[0]


@pytest.mark.parametrize("offset", [0.02, -0.5])
def test_an_offset_is_removed_and_told(offset):
    wave, warnings = _read(SOUND + np.float32(offset))
    assert np.allclose(wave, SOUND, atol=1e-4)
    assert warnings == (f"The samples have an offset of {offset:+.3f} of full scale, which was removed",)


@pytest.mark.parametrize("offset", [0.0, 0.0009, 0.005])
def test_an_offset_that_is_small_beside_the_sound_stays(offset):
    samples = SOUND + np.float32(offset)
    wave, warnings = _read(samples)
    assert np.array_equal(wave, samples)
    assert warnings == ()


@pytest.mark.parametrize("peak", [1.6, 16.0])
def test_samples_far_beyond_full_scale_are_scaled_to_it_and_told(peak):
    wave, warnings = _read(SOUND * np.float32(10 * peak))
    assert np.allclose(wave, 10 * SOUND, atol=1e-5)
    assert warnings[0].startswith(f"The samples reach {peak:.2f} times full scale")


def test_samples_a_little_beyond_full_scale_stay():
    samples = SOUND * np.float32(14)
    wave, _ = _read(samples)
    assert np.array_equal(wave, samples)


def test_clipping_is_told_with_its_share():
    _, warnings = _read(np.clip(20 * SOUND, -1, 1), "PCM_16")
    assert warnings == ("The recording is clipped: 66.5 % of its samples are at full scale",)


def test_a_loud_recording_with_a_single_peak_at_full_scale_is_not_called_clipped():
    samples = 5 * SOUND
    samples[5_000] = 1.0
    assert _read(samples, "PCM_16")[1] == ()


@pytest.mark.parametrize(
    ("level", "told"), [(0.2, False), (0.02, True), (0.005, True), (0.0005, False), (0.0, False)]
)
def test_sound_that_is_very_quiet_is_told_and_silence_is_not(level: float, told: bool) -> None:
    wave, warnings = _read(SOUND * np.float32(level))
    assert np.array_equal(wave, SOUND * np.float32(level))
    assert any("very quiet" in each for each in warnings) == told


def test_stereo_is_measured_in_its_channels_and_not_in_their_mix():
    clipped = np.clip(20 * SOUND, -1, 1)
    _, warnings = _read(np.stack([clipped, 0.02 * clipped[::-1]], axis=1), "PCM_16")
    assert warnings == ("The recording is clipped: 33.2 % of its samples are at full scale",)
