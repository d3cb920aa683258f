"""Headers in an MP3's first frame that count wrongly, or that stand where no decoder looks for them."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest

from ssvd_asr.audio.mpeg import _frame
from ssvd_asr.audio.read import read_audio
from ssvd_asr.errors import AudioUnreadableError
from tests.ssvd_asr.audio_samples import encoded_by_ffmpeg

SECONDS, RATE_HZ = 8.0, 16_000
NOISE = np.random.default_rng(0).uniform(-0.3, 0.3, int(SECONDS * RATE_HZ)).astype(np.float32)
NOISE[: RATE_HZ * 4] *= 0.001  # the first half needs few bits: a guess by its rate is far too long
VARIABLE_RATE = {"flags": "+qscale", "global_quality": str(4 * 118)}
MP3 = encoded_by_ffmpeg(
    NOISE, RATE_HZ, "mp3", "libmp3lame", muxer={"id3v2_version": "0"}, encoder=VARIABLE_RATE
)


def _frames(data: bytes) -> list[bytes]:
    found, position = [], 0
    while position < len(data):
        frame = _frame(io.BytesIO(data), position)
        assert frame is not None
        found.append(data[position : position + frame.size])
        position += frame.size
    return found


HEAD, *REST = _frames(MP3)
BODY = b"".join(REST)
COUNT_AT = HEAD.index(b"Xing" if b"Xing" in HEAD else b"Info") + 8


def _counting(frames: int) -> bytes:
    return HEAD[:COUNT_AT] + struct.pack(">I", frames) + HEAD[COUNT_AT + 4 :]


def _vbri(frames: int) -> bytes:
    """Fraunhofer's header, 32 bytes behind the frame's own."""
    vbri = struct.pack(">4sHHHIIHHHH", b"VBRI", 1, 0, 75, len(MP3), frames, 0, 1, 4, 1)
    return (HEAD[:4] + bytes(32) + vbri).ljust(len(HEAD), b"\0")[: len(HEAD)]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(_counting(0) + BODY, id="a count of none"),
        pytest.param(_counting(len(REST) // 2) + BODY, id="half of the frames counted"),
        pytest.param(_counting(2**32 - 1) + BODY, id="a count that was never written"),
        pytest.param(REST[0] + MP3, id="behind another frame"),
        pytest.param(b"".join(REST[:3]) + MP3, id="behind three frames"),
        pytest.param(HEAD + MP3, id="twice"),
        pytest.param(BODY + HEAD, id="at the end"),
        pytest.param(_vbri(len(REST)) + BODY, id="VBRI"),
        pytest.param(_vbri(len(REST)) + MP3, id="VBRI before Xing"),
        pytest.param(_vbri(len(REST) // 2) + BODY, id="VBRI that counts half"),
    ],
)
def test_an_mp3_whose_header_counts_wrongly_or_stands_elsewhere_is_read_to_its_end(data: bytes) -> None:
    """Only a part was read of some, and some were refused for a length that no header states."""
    wave = read_audio(data)
    frame_s = 576 / RATE_HZ
    assert len(wave) / 16_000 == pytest.approx(SECONDS, abs=8 * frame_s)
    assert np.abs(wave[-4_000:-2_500]).max() > 0.05


@pytest.mark.parametrize("head", [_counting(2 * len(REST)), _vbri(2 * len(REST))])
def test_an_mp3_with_fewer_frames_than_its_header_counts_is_refused(head: bytes) -> None:
    with pytest.raises(AudioUnreadableError, match=r"cut off.* of the 1[567]\.\d+ s that its header states"):
        read_audio(head + BODY)
