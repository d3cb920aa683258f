"""What the audio of a request was like is said in its reply."""

from __future__ import annotations

import numpy as np
from fastapi.testclient import TestClient

from tests.server.api.test_transcriptions import post, refusal
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
