"""Of several audio tracks the first with sound is read, and the reply says which."""

import numpy as np
import pytest

from ssvd_asr.audio.read import AudioLimits, read_audio, read_recording
from ssvd_asr.errors import AudioLimitError
from tests.ssvd_asr.audio_samples import tone, with_tracks

SOUND, OTHER = tone(2.0, 48_000, 440.0), tone(2.0, 48_000, 900.0)
LATE = np.concatenate([np.zeros_like(SOUND), SOUND])  # silent for 2 s
SILENT = np.zeros_like(SOUND)
CONTAINERS = [
    ("mp4", "aac"),
    ("mov", "pcm_s16le"),
    ("matroska", "libopus"),
    ("mpegts", "aac"),
    ("avi", "pcm_s16le"),
    ("mpegts", "mp2"),
]


@pytest.mark.parametrize(("container", "codec"), CONTAINERS)
@pytest.mark.parametrize(
    ("tracks", "frequency_hz", "warning"),
    [
        (
            [SILENT, SOUND],
            440,
            "Of the 2 audio tracks of the file, number 2 was read: those before it are silent",
        ),
        ([1e-4 * OTHER, SILENT, SOUND], 440, "Of the 3 audio tracks of the file, number 3 was read: those"),
        ([SOUND, OTHER], 440, "Of the 2 audio tracks of the file, number 1 was read"),
        ([OTHER, SOUND], 900, "Of the 2 audio tracks of the file, number 1 was read"),
        ([LATE, OTHER], 440, "Of the 2 audio tracks of the file, number 1 was read"),
    ],
)
def test_the_first_track_with_sound_is_read_and_told(container, codec, tracks, frequency_hz, warning):
    recording = read_recording(with_tracks(tracks, 48_000, container, codec))
    (wave,), ((told, *_),) = recording.waves, recording.warnings
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
    assert abs(spectrum.argmax() * 16_000 / len(wave) - frequency_hz) < 2
    assert told.startswith(warning)


def test_tracks_without_sound_are_silence():
    recording = read_recording(with_tracks([SILENT, SILENT], 48_000, "matroska", "libopus"))
    assert np.abs(recording.waves[0]).max() < 1e-4
    assert recording.warnings == (("Of the 2 audio tracks of the file, number 1 was read",),)


def test_one_track_is_no_news():
    assert read_recording(with_tracks([SOUND], 48_000, "matroska", "libopus")).warnings == ((),)


def test_the_search_for_sound_is_within_the_limit_of_time():
    minute = np.zeros(48_000 * 60, np.float32)
    data = with_tracks([minute] * 8, 48_000, "matroska", "libopus")
    with pytest.raises(AudioLimitError, match=r"limit of 1 s \(max_decoder_cpu_s\)"):
        read_audio(data, AudioLimits(max_decoder_cpu_s=1))
