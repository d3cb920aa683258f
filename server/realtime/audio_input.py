"""Audio of a session: base64 in OpenAI's formats to samples at 16 kHz, as it comes."""

from __future__ import annotations

import base64
import binascii
import io
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from server.errors import ApiError
from ssvd_asr.audio.read import SAMPLE_RATE

FloatArray = npt.NDArray[np.float32]

AudioFormat = Literal["audio/pcm", "audio/pcmu", "audio/pcma"]
FORMATS: tuple[AudioFormat, ...] = get_args(AudioFormat)
RATES_HZ: dict[AudioFormat, int] = {"audio/pcm": 24_000, "audio/pcmu": 8000, "audio/pcma": 8000}
_SUBTYPES: dict[AudioFormat, str] = {"audio/pcm": "PCM_16", "audio/pcmu": "ULAW", "audio/pcma": "ALAW"}
MAX_APPEND_BYTES = 15 * 2**20  # OpenAI's limit
MAX_MESSAGE_BYTES = 4 * MAX_APPEND_BYTES // 3 + 4096  # as base64, and what stands around it


class AudioInput:
    """Decoder of one session's audio, which is one stream however it is cut into events."""

    def __init__(self, kind: AudioFormat) -> None:
        self.kind = kind
        self.held_s = 0.0  # audio that the resampler still holds
        self._half = b""  # of a sample of two bytes, whose other half begins the next audio
        self._resampler = soxr.ResampleStream(RATES_HZ[kind], SAMPLE_RATE, 1, dtype="float32")

    def decode(self, audio: str) -> FloatArray:
        """Return the samples (n,) that base64 of raw audio adds, mono in [-1, 1]. n may be 0.

        The bytes may end within a sample: its half is kept for the next audio.

        Raises ApiError for what is not base64, or more than MAX_APPEND_BYTES.
        """
        try:
            data = base64.b64decode(audio, validate=True)
        except (binascii.Error, ValueError) as error:
            raise _refused(f"audio is not base64: {error}") from error
        if len(data) > MAX_APPEND_BYTES:
            raise _refused(f"audio has {len(data)} bytes: the limit of one event is {MAX_APPEND_BYTES}")
        if self.kind == "audio/pcm":
            data = self._half + data
            whole = len(data) // 2 * 2
            data, self._half = data[:whole], data[whole:]
        if not data:
            return np.zeros(0, np.float32)
        wave, _ = soundfile.read(
            io.BytesIO(data), format="RAW", subtype=_SUBTYPES[self.kind], endian="LITTLE", channels=1,
            samplerate=RATES_HZ[self.kind], dtype="float32",
        )  # fmt: skip
        found: FloatArray = self._resampler.resample_chunk(wave)
        self.held_s += len(wave) / RATES_HZ[self.kind] - len(found) / SAMPLE_RATE
        return found

    def flush(self) -> FloatArray:
        """Return the samples that the resampler still holds. The next audio begins a new stream of samples.

        It is the same stream of bytes: half a sample stays, else all that follows would be noise.
        """
        held: FloatArray = self._resampler.resample_chunk(np.zeros(0, np.float32), last=True)
        self.held_s = 0.0
        self._resampler = soxr.ResampleStream(RATES_HZ[self.kind], SAMPLE_RATE, 1, dtype="float32")
        return held

    def forget_half(self) -> None:
        """Drop half a sample: the next audio begins with a whole one."""
        self._half = b""


def _refused(message: str) -> ApiError:
    return ApiError(400, message, code="invalid_audio", param="audio")
