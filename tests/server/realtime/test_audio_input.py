"""A stream of raw audio is the same samples, however it is cut into events."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import soundfile
import soxr

from server.errors import ApiError
from server.realtime.audio_input import RATES_HZ, AudioFormat, AudioInput
from tests.speechlike import babble

SUBTYPES: dict[AudioFormat, str] = {"audio/pcm": "PCM_16", "audio/pcmu": "ULAW", "audio/pcma": "ALAW"}


def raw(kind: AudioFormat, wave: np.ndarray) -> bytes:
    """Speech at 16 kHz in a format."""
    out = io.BytesIO()
    at_rate = soxr.resample(wave, 16_000, RATES_HZ[kind])
    soundfile.write(out, at_rate, RATES_HZ[kind], format="RAW", subtype=SUBTYPES[kind], endian="LITTLE")
    return out.getvalue()


def decoded(reader: AudioInput, data: bytes, block: int) -> np.ndarray:
    parts = [
        reader.decode(base64.b64encode(data[at : at + block]).decode()) for at in range(0, len(data), block)
    ]
    return np.concatenate([*parts, reader.flush()])


@pytest.mark.parametrize("kind", SUBTYPES)
def test_every_format_gives_the_speech_back(kind: AudioFormat) -> None:
    wave = babble(1.0)
    found = decoded(AudioInput(kind), raw(kind, wave), 4800)
    assert abs(len(found) - len(wave)) <= 2
    length = min(len(found), len(wave))
    expected = wave if kind == "audio/pcm" else soxr.resample(soxr.resample(wave, 16_000, 8000), 8000, 16_000)
    length = min(length, len(expected))
    assert np.corrcoef(found[:length], expected[:length])[0, 1] > 0.99


@pytest.mark.parametrize("block", [1, 2, 3, 481, 962, 100_000])
def test_blocks_of_any_size_give_the_same_samples(block: int) -> None:
    data = raw("audio/pcm", babble(0.3))
    whole = decoded(AudioInput("audio/pcm"), data, len(data))
    assert np.allclose(decoded(AudioInput("audio/pcm"), data, block), whole, atol=1e-6)


def test_half_a_sample_outlasts_a_turn_until_it_is_forgotten() -> None:
    data = raw("audio/pcm", babble(0.3))
    expected = decoded(AudioInput("audio/pcm"), data[:4800], 4800)
    reader = AudioInput("audio/pcm")
    first = np.concatenate([reader.decode(base64.b64encode(data[:4801]).decode()), reader.flush()])
    assert np.array_equal(first, expected)
    assert np.array_equal(
        decoded(reader, data[4801:9600], 4799), decoded(AudioInput("audio/pcm"), data[4800:9600], 4800)
    )
    reader.decode(base64.b64encode(b"abc").decode())
    reader.flush()
    reader.forget_half()
    assert np.array_equal(decoded(reader, data[:4800], 4800), expected)


@pytest.mark.parametrize("audio", ["?", "AAA", "AA AA"])
def test_what_is_no_audio_is_refused(audio: str) -> None:
    with pytest.raises(ApiError):
        AudioInput("audio/pcm").decode(audio)
    assert len(AudioInput("audio/pcm").decode("")) == 0
