"""What the audio of a request was like is said in its reply."""

from __future__ import annotations

import numpy as np
import pytest
from fastapi.testclient import TestClient

from tests.server.api.test_transcriptions import post, refusal
from tests.server.fakes import FakeRecogniser
from tests.speechlike import babble, wav_bytes
from tests.ssvd_asr.audio_samples import encoded


def test_what_was_mended_in_the_audio_is_a_warning(client: TestClient) -> None:
    wave = babble(2.0)
    wave = 0.5 * wave / np.abs(wave).max()
    files = {
        "": np.stack([wave, wave], axis=1),
        "cancels what they hold": np.stack([wave, -wave], axis=1),
        "Silent, so not counted": np.stack([wave, 0 * wave], axis=1),
        "offset of +0.25": wave + np.float32(0.25),
        "clipped": np.clip(20 * wave, -1, 1),
        "2.00 times full scale": 4 * wave,
    }
    for said, samples in files.items():
        body = post(client, encoded(samples, 16_000, "WAV", "FLOAT")).json()
        warnings = body["ssvd"]["warnings"]
        assert [said in warning for warning in warnings] == ([True] if said else []), warnings
        assert body["text"] == "base words"


def test_a_rate_over_the_limit_is_not_called_too_long(client: TestClient) -> None:
    error = refusal(post(client, wav_bytes(np.zeros(1000, np.float32), 400_000)), 422)
    assert error["code"] == "audio_over_limit"
    assert "sampled at 400000 Hz, the limit is 384000 Hz" in error["message"]
    assert post(client, wav_bytes(np.zeros(38_400, np.float32), 384_000)).status_code == 200


def stereo() -> bytes:
    """Speech at 0 to 2 s on channel 0, and at 3 to 5 s on channel 1."""
    samples = np.zeros((80_000, 2), np.float32)
    samples[:32_000, 0] = babble(2.0)
    samples[48_000:, 1] = babble(2.0, seed=4)
    return wav_bytes(samples)


def test_a_channel_is_transcribed_alone(client: TestClient, recogniser: FakeRecogniser) -> None:
    for channel, start_s in (("0", 0.0), ("1", 3.0)):
        recogniser.pieces.clear()
        body = post(client, stereo(), channel=channel).json()
        assert body["text"] == "base words"
        assert "channels" not in body
        assert [piece.start_s for piece in recogniser.pieces] == pytest.approx([start_s], abs=0.5)


def test_each_channel_is_transcribed_apart_and_named(client: TestClient) -> None:
    asked = {"response_format": "verbose_json", "timestamp_granularities[]": ["word", "segment"]}
    body = post(client, stereo(), channel="each", **asked).json()
    assert body["text"] == "base words\nbase words"
    assert body["channels"] == [{"channel": 0, "text": "base words"}, {"channel": 1, "text": "base words"}]
    assert [segment["channel"] for segment in body["segments"]] == [0, 1]
    assert [word["channel"] for word in body["words"]] == [0, 0, 1, 1]
    assert [piece["channel"] for piece in body["ssvd"]["decoding"]] == [0, 1]
    assert body["duration"] == 5.0
    assert body["usage"]["seconds"] == 10.0


def test_each_channel_has_its_place_in_every_format(client: TestClient) -> None:
    def said(kind: str) -> str:
        return post(client, stereo(), channel="each", response_format=kind).text

    assert said("text") == "base words\nbase words\n"
    assert (
        said("srt").count("[channel 0]\nbase words\n") == said("srt").count("[channel 1]\nbase words\n") == 1
    )
    assert (
        said("vtt").count("<v channel 0>base words\n") == said("vtt").count("<v channel 1>base words\n") == 1
    )


def test_a_channel_that_is_not_there_is_422_and_says_how_many_are(client: TestClient) -> None:
    error = refusal(post(client, stereo(), channel="2"), 422)
    assert (error["param"], error["code"]) == ("channel", "no_such_channel")
    assert "has no channel 2: it has 2 channels" in error["message"]
    error = refusal(post(client, stereo(), channel="left"), 400)
    assert (error["param"], error["code"]) == ("channel", "invalid_value")
