"""No channel cancels another, ordinary stereo stays the mean, and one channel can be chosen."""

import numpy as np
import pytest

from ssvd_asr.audio.channels import Mixer
from ssvd_asr.audio.read import AudioLimits, parse_channel, read_audio, read_recording
from ssvd_asr.errors import AudioTooLongError, AudioUnreadableError, ChannelError
from tests.ssvd_asr.audio_samples import encoded, tone

SOUND = np.random.default_rng(0).uniform(-0.3, 0.3, 48_000).astype(np.float32)
OTHER = np.random.default_rng(1).uniform(-0.3, 0.3, 48_000).astype(np.float32)
NOTHING = np.zeros_like(SOUND)


def _file(*channels: np.ndarray, rate_hz: int = 16_000) -> bytes:
    return encoded(np.stack(channels, axis=1), rate_hz, "WAV", "FLOAT")


@pytest.mark.parametrize(
    "channels", [(SOUND, OTHER), (SOUND, SOUND), (SOUND, 0.3 * OTHER), (SOUND, 0.5 * SOUND - 0.5 * OTHER)]
)
def test_ordinary_stereo_is_the_mean_to_the_bit(channels):
    recording = read_recording(_file(*channels))
    assert np.array_equal(recording.waves[0], np.stack(channels, axis=1).mean(axis=1, dtype=np.float32))
    assert recording.warnings == ((),)


@pytest.mark.parametrize(
    ("channels", "mix"),
    [
        ((SOUND, -SOUND), SOUND),
        ((SOUND, -0.6 * SOUND), 0.8 * SOUND),
        ((SOUND, -SOUND, SOUND, -SOUND), SOUND),
    ],
)
@pytest.mark.parametrize("offset", [0.0, 0.5])
def test_a_channel_with_the_other_sign_does_not_cancel_the_rest(channels, mix, offset):
    wave, (warnings,) = _read(_file(*(channel + np.float32(offset) for channel in channels)))
    assert np.allclose(wave[200:], mix[200:], atol=2e-3)  # the first 10 ms fade
    assert "cancels what they hold in 3.0 s of 3.0 s" in warnings[0]


def test_channels_that_cancel_in_a_part_of_the_file_are_mended_there():
    later = SOUND.copy()
    later[24_000:] *= -1
    wave, (warnings,) = _read(_file(SOUND, later))
    assert np.allclose(wave[:22_400], SOUND[:22_400], atol=1e-6)
    after = 25_600 + 160  # the block of 0.2 s in which it changes, and the fade
    assert np.allclose(wave[after:], SOUND[after:], atol=1e-6)
    assert "in 1.4 s of 3.0 s" in warnings[0]


def test_a_change_of_sign_makes_no_jump():
    low = tone(2.0, 16_000, 100.0)
    later = low.copy()
    later[12_800:] *= -1
    assert np.abs(np.diff(read_audio(_file(low, later)))).max() < 2 * np.abs(np.diff(low)).max()


def test_the_mix_does_not_depend_on_how_the_frames_arrive():
    frames = np.stack([SOUND, -SOUND], axis=1)
    whole = Mixer(2, 16_000)
    expected = np.concatenate([whole.add(frames), whole.finish()])
    parts = Mixer(2, 16_000)
    mixed = [parts.add(frames[at : at + 777]) for at in range(0, len(frames), 777)]
    assert np.allclose(np.concatenate([*mixed, parts.finish()]), expected, atol=1e-6)
    assert len(expected) == len(frames)


@pytest.mark.parametrize("silence", [NOTHING, 0.001 * OTHER])
def test_a_channel_without_sound_does_not_lower_the_mix(silence):
    wave, (warnings,) = _read(_file(silence, SOUND))
    assert np.allclose(wave, SOUND, atol=1e-3)
    assert warnings == ("Silent, so not counted in the mix of 2 channels: channel 0",)


def test_a_file_of_silent_channels_is_silence_without_a_warning():
    wave, warnings = _read(_file(NOTHING, NOTHING))
    assert not wave.any()
    assert warnings == ((),)


def test_a_channel_is_read_alone():
    data = _file(SOUND, OTHER)
    assert np.array_equal(read_audio(data, channel=1), OTHER)
    assert np.array_equal(read_audio(data, channel=0, start_s=1.0, duration_s=0.5), SOUND[16_000:24_000])
    each = read_recording(data, channel="each")
    assert np.array_equal(each.waves, [SOUND, OTHER])
    assert each.apart


@pytest.mark.parametrize(
    ("channels", "has"), [((SOUND,), "it has one channel"), ((SOUND, OTHER), "it has 2 channels")]
)
def test_a_channel_that_is_not_there_is_named_with_those_that_are(channels, has):
    with pytest.raises(ChannelError, match=f"has no channel 2: {has}"):
        read_audio(_file(*channels), channel=2)


def test_every_channel_counts_towards_the_limit_of_seconds():
    data = _file(SOUND, OTHER)
    limits = AudioLimits(max_duration_s=4.0)
    assert len(read_audio(data, limits)) == 48_000
    with pytest.raises(AudioTooLongError, match=r"4\.0 s \(max_duration_s\), which its 2 channels share"):
        read_recording(data, limits, channel="each")


def test_a_sample_that_is_no_number_matters_only_in_the_channel_that_is_read():
    broken = SOUND.copy()
    broken[100] = np.nan
    data = _file(SOUND, broken)
    assert np.array_equal(read_audio(data, channel=0), SOUND)
    for channel in ("mix", 1):
        with pytest.raises(AudioUnreadableError, match="not finite"):
            read_audio(data, channel=channel)


@pytest.mark.parametrize("text", ["left", "-1", "1.5", "", "MIX", "²", "1" * 10])
def test_a_malformed_channel_is_refused(text):
    with pytest.raises(ChannelError, match="use the number of one"):
        parse_channel(text)
    assert [parse_channel(good) for good in ("0", "12", "mix", "each")] == [0, 12, "mix", "each"]


def _read(data: bytes) -> tuple[np.ndarray, tuple[tuple[str, ...], ...]]:
    recording = read_recording(data)
    return recording.waves[0], recording.warnings
