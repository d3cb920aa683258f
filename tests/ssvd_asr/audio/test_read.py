"""Every format ends as the same mono 16 kHz samples, whole or as a segment."""

import io
import subprocess
import sys

import numpy as np
import pytest

from ssvd_asr.audio.read import SAMPLE_RATE, AudioLimits, read_audio
from ssvd_asr.errors import AudioError, AudioTooLongError
from tests.ssvd_asr.audio_samples import encoded, encoded_by_ffmpeg, tone

SNDFILE_FORMATS = [
    ("WAV", "PCM_16", 8_000),
    ("WAV", "PCM_24", 44_100),
    ("WAV", "FLOAT", 16_000),
    ("WAV", "ULAW", 8_000),
    ("FLAC", "PCM_16", 22_050),
    ("OGG", "VORBIS", 44_100),
    ("OGG", "OPUS", 48_000),
    ("OGG", "OPUS", 16_000),
    ("MP3", None, 32_000),
    ("AIFF", "PCM_16", 96_000),
    ("W64", "PCM_32", 192_000),
]
FFMPEG_FORMATS = [
    ("ipod", "aac", 44_100),  # m4a
    ("ipod", "alac", 22_050),
    ("webm", "libopus", 48_000),
    ("adts", "aac", 16_000),
    ("mpegts", "aac", 48_000),
    ("mpegts", "ac3", 48_000),
    ("mpegts", "mp2", 48_000),
    ("mpeg", "mp2", 48_000),
    ("vob", "ac3", 48_000),
    ("flv", "aac", 44_100),
    ("flv", "libmp3lame", 44_100),
    ("flv", "nellymoser", 22_050),
    ("avi", "pcm_s16le", 48_000),
    ("avi", "libmp3lame", 44_100),
    ("avi", "ac3", 48_000),
    ("ac3", "ac3", 48_000),
    ("eac3", "eac3", 48_000),
    ("wv", "wavpack", 44_100),
    ("wv", "wavpack", 96_000),
    ("tta", "tta", 44_100),
    ("mxf_opatom", "pcm_s16le", 48_000),
    ("rm", "real_144", 8_000),
    ("latm", "aac", 48_000),
    ("mp2", "mp2", 48_000),
    ("wav", "g722", 16_000),
    ("wav", "g726", 8_000),
    ("matroska", "wavpack", 48_000),
    ("mov", "pcm_f64le", 48_000),
]
# Their encoders pad the end with up to two frames, and the container has no edit list.
PADDED = ("aac", "ac3", "eac3", "mp2", "libmp3lame", "nellymoser", "real_144")


@pytest.mark.parametrize(("format", "subtype", "rate_hz"), SNDFILE_FORMATS)
def test_what_libsndfile_writes_comes_back_as_the_tone(format, subtype, rate_hz):
    _assert_tone(read_audio(encoded(tone(2.0, rate_hz), rate_hz, format, subtype)), seconds=2.0)


@pytest.mark.parametrize(("container", "codec", "rate_hz"), FFMPEG_FORMATS)
def test_what_only_ffmpeg_reads_comes_back_as_the_tone(container, codec, rate_hz):
    slack_s = 2 * 1536 / rate_hz + 0.001 if codec in PADDED and container != "ipod" else 0.001
    wave = read_audio(encoded_by_ffmpeg(tone(2.0, rate_hz), rate_hz, container, codec))
    _assert_tone(wave, seconds=2.0, slack_s=slack_s)


@pytest.mark.parametrize(("container", "codec"), [("ac3", "ac3"), ("mpegts", "ac3"), ("eac3", "eac3")])
def test_surround_is_mixed_and_its_silent_channels_do_not_count(container, codec):
    samples = np.zeros((96_000, 6), np.float32)
    samples[:, 2] = tone(2.0, 48_000)  # the centre, where films have their speech
    data = encoded_by_ffmpeg(samples, 48_000, container, codec)
    _assert_tone(read_audio(data), seconds=2.0, slack_s=0.07)
    _assert_tone(read_audio(data, channel=2), seconds=2.0, slack_s=0.07)


def test_384_khz_are_read():
    _assert_tone(read_audio(encoded(tone(2.0, 384_000), 384_000, "FLAC")), seconds=2.0)


def test_16_khz_samples_are_not_touched():
    samples = np.random.default_rng(0).uniform(-1, 1, 40_000).astype(np.float32)
    assert np.array_equal(read_audio(encoded(samples, SAMPLE_RATE, "WAV", "FLOAT")), samples)


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 44_100, 48_000])
def test_block_by_block_resampling_equals_resampling_at_once(rate_hz):
    import soxr

    samples = np.random.default_rng(1).uniform(-1, 1, 300_001).astype(np.float32)  # three blocks
    wave = read_audio(encoded(samples, rate_hz, "WAV", "FLOAT"))
    at_once = soxr.resample(samples, rate_hz, SAMPLE_RATE)
    assert len(wave) == round(len(samples) * SAMPLE_RATE / rate_hz)
    assert np.abs(wave[: len(at_once)] - at_once[: len(wave)]).max() < 1e-5


def test_path_bytes_and_stream_give_the_same_samples(tmp_path):
    data = encoded(tone(1.0, 44_100), 44_100, "FLAC")
    (tmp_path / "a.flac").write_bytes(data)
    from_bytes = read_audio(data)
    assert np.array_equal(from_bytes, read_audio(tmp_path / "a.flac"))
    assert np.array_equal(from_bytes, read_audio(str(tmp_path / "a.flac")))
    assert np.array_equal(from_bytes, read_audio(io.BytesIO(data)))
    assert np.array_equal(from_bytes, read_audio(_Pipe(data)))


def test_an_m4a_path_is_read_after_libsndfile_looked_at_it(tmp_path):
    data = encoded_by_ffmpeg(tone(1.0, 44_100), 44_100, "ipod", "aac")
    (tmp_path / "a.m4a").write_bytes(data)
    assert np.array_equal(read_audio(data), read_audio(tmp_path / "a.m4a"))


def test_channels_are_averaged():
    left, right = tone(1.0, 16_000, 440.0), tone(1.0, 16_000, 700.0)
    wave = read_audio(encoded(np.stack([left, right], 1), 16_000, "WAV", "FLOAT"))
    assert np.allclose(wave, (left + right) / 2, atol=1e-7)


@pytest.mark.parametrize(
    ("format", "subtype"),
    [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "OPUS"), ("OGG", "VORBIS"), ("MP3", None)],
)
def test_a_segment_is_the_slice_of_the_whole(format, subtype):
    noise = np.random.default_rng(2).standard_normal(16_000 * 12).astype(np.float32)
    noise = np.convolve(noise, np.ones(16, np.float32))  # low tones, which codecs keep
    data = encoded(0.5 * noise / np.abs(noise).max(), 16_000, format, subtype)
    whole = read_audio(data)
    segment = read_audio(data, start_s=2.5, duration_s=8.75)
    assert np.allclose(segment, whole[40_000:180_000], atol=1e-6)
    assert np.allclose(read_audio(data, start_s=2.5), whole[40_000:], atol=1e-6)


def test_a_segment_of_an_m4a_is_the_slice_of_the_whole():
    data = encoded_by_ffmpeg(tone(3.0, 16_000), 16_000, "ipod", "aac")
    assert np.array_equal(read_audio(data, start_s=1.0, duration_s=0.5), read_audio(data)[16_000:24_000])


def test_a_segment_outside_the_audio_is_named():
    data = encoded(tone(2.0, 16_000), 16_000)
    with pytest.raises(AudioError, match=r"start_s=2\.0 is beyond the end, the audio lasts 2\.000 s"):
        read_audio(data, start_s=2.0)
    with pytest.raises(AudioError, match=r"start_s=1\.0 with duration_s=1\.5 runs beyond .* lasts 2\.000 s"):
        read_audio(data, start_s=1.0, duration_s=1.5)
    m4a = encoded_by_ffmpeg(tone(2.0, 16_000), 16_000, "ipod", "aac")
    with pytest.raises(AudioError, match=r"beyond the end, the audio lasts 2\.000 s"):
        read_audio(m4a, start_s=7.0)


def test_a_segment_may_overrun_by_a_rounding():
    data = encoded(tone(2.0, 16_000), 16_000)
    assert len(read_audio(data, start_s=1.0, duration_s=1.05)) == 16_000


@pytest.mark.parametrize(
    "segment",
    [
        {"start_s": -0.1},
        {"start_s": float("nan")},
        {"duration_s": 0.0},
        {"duration_s": -1.0},
        {"duration_s": float("inf")},
    ],
)
def test_an_impossible_segment_is_refused(segment):
    with pytest.raises(AudioError, match=next(iter(segment))):
        read_audio(encoded(tone(1.0, 16_000), 16_000), **segment)


def test_the_limit_counts_the_segment_not_the_file():
    data = encoded(tone(5.0, 16_000), 16_000)
    limits = AudioLimits(max_duration_s=1.0)
    assert len(read_audio(data, limits, start_s=3.0, duration_s=1.0)) == 16_000
    with pytest.raises(AudioTooLongError, match="max_duration_s"):
        read_audio(data, limits, start_s=3.0, duration_s=1.5)
    with pytest.raises(AudioTooLongError, match=r"limit of 1\.0 s \(max_duration_s\)"):
        read_audio(data, limits)


def test_exactly_the_limit_is_allowed():
    assert len(read_audio(encoded(tone(1.0, 44_100), 44_100), AudioLimits(max_duration_s=1.0))) == 16_000


def test_limits_must_be_positive():
    with pytest.raises(ValueError, match="max_channels=0"):
        AudioLimits(max_channels=0)
    with pytest.raises(ValueError, match="max_duration_s=nan"):
        AudioLimits(max_duration_s=float("nan"))


def test_reading_audio_loads_no_torch():
    code = "import sys, ssvd_asr.audio.read; print('torch' in sys.modules, 'av' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == ["False", "False"]


class _Pipe(io.RawIOBase):
    """A stream that cannot seek and gives a little at a time."""

    def __init__(self, data: bytes) -> None:
        self._inner = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self._inner.read(min(size, 1000))


def _assert_tone(wave: np.ndarray, seconds: float, slack_s: float = 0.001) -> None:
    assert wave.dtype == np.float32
    assert wave.ndim == 1
    assert 0 <= len(wave) / SAMPLE_RATE - seconds + 0.001 <= slack_s + 0.001
    middle = wave[4_000:20_000]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert abs(int(spectrum.argmax()) * SAMPLE_RATE / len(middle) - 440.0) <= 1.0
    assert 0.27 < np.sqrt(2 * np.mean(middle**2)) < 0.33
