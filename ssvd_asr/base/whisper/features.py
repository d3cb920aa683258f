"""Whisper's features: the log-mel spectrum, as transformers' WhisperFeatureExtractor computes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ssvd_asr.audio.read import SAMPLE_RATE
from ssvd_asr.errors import BaseModelError

FLOOR = 1e-10
RANGE = 8.0  # in powers of ten below a row's highest value


@dataclass(frozen=True)
class FeatureConfig:
    """Options of the features, as preprocessor_config.json names them."""

    feature_size: int
    n_fft: int
    hop_length: int
    chunk_length: int  # s

    @classmethod
    def of(cls, raw: Mapping[str, Any], mels: int) -> FeatureConfig:
        """Read the options; `mels` is what the model wants.

        Raises:
            BaseModelError: the sample rate is not 16 kHz, or the mels differ from the model's.
        """
        rate = int(raw.get("sampling_rate", SAMPLE_RATE))
        if rate != SAMPLE_RATE:
            raise BaseModelError(
                f"preprocessor_config.json: sampling_rate {rate}; only {SAMPLE_RATE} is known"
            )
        size = int(raw.get("feature_size", mels))
        if size != mels:
            raise BaseModelError(f"preprocessor_config.json has {size} mels, config.json {mels}")
        options = {"n_fft": 400, "hop_length": 160, "chunk_length": 30}
        return cls(size, **{name: int(raw.get(name, default)) for name, default in options.items()})


class LogMel:
    """Log-mel spectra on the device of the samples."""

    def __init__(self, config: FeatureConfig) -> None:
        from transformers.audio_utils import mel_filter_bank

        self.config = config
        filters = mel_filter_bank(
            num_frequency_bins=1 + config.n_fft // 2,
            num_mel_filters=config.feature_size,
            min_frequency=0.0,
            max_frequency=SAMPLE_RATE / 2,
            sampling_rate=SAMPLE_RATE,
            norm="slaney",
            mel_scale="slaney",
        )
        self._filters = torch.from_numpy(filters).float().T.contiguous()  # (mels, frequencies)
        self._window = torch.hann_window(config.n_fft)

    @torch.no_grad()
    def __call__(self, speech: Tensor) -> Tensor:
        """Return features (B, mels, samples / hop) of speech (B, samples) float32."""
        config = self.config
        if self._window.device != speech.device:
            self._filters, self._window = self._filters.to(speech.device), self._window.to(speech.device)
        with torch.autocast(speech.device.type, enabled=False):
            spectrum = torch.stft(
                speech.float(), config.n_fft, config.hop_length, window=self._window, return_complex=True
            )
            power = (spectrum[..., :-1].abs() ** 2).contiguous()
            log = torch.clamp(self._filters @ power, min=FLOOR).log10()
            log = torch.maximum(log, log.amax(dim=(1, 2), keepdim=True) - RANGE)
        return (log + 4.0) / 4.0
