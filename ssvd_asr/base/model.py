"""Frozen base model: one network, its tokens and its digest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from ssvd_asr.base.config import ModelConfig
from ssvd_asr.base.digest import base_digest
from ssvd_asr.base.fast_encoder import whole_windows
from ssvd_asr.base.tokens import TokenMap
from ssvd_asr.errors import AudioError, AudioTooLongError

if TYPE_CHECKING:
    from espnet2.s2t.espnet_model import ESPnetS2TModel

FloatArray = npt.NDArray[np.float32]


class BaseModel:
    """ESPnet S2T model in evaluation mode, with no gradients.

    Attributes:
        name: the name that it was loaded by, for people; `digest` identifies it.
        digest: "sha256:..." of its content (see base/digest.py), fixed at loading.
        network: ESPnet's own module; adapting it in place changes neither its weights nor the digest.
        config, tokens: its config.yaml and its vocabulary.
        device, dtype: device of the network, and dtype of encoder, decoder and CTC head. The front end and
            the normalisation stay float32: a power spectrum does not fit into 8 bits of mantissa.
    """

    def __init__(
        self,
        name: str,
        network: ESPnetS2TModel,
        config: ModelConfig,
        *,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Compute the digest of a float32 network, freeze it, then move and cast it in place."""
        self.name = name
        self.config = config
        self.tokens = TokenMap(config)
        self.digest = base_digest(network, config, self.tokens)
        self.device = device if device is not None else torch.device("cpu")
        self.dtype = dtype
        network.requires_grad_(False).eval().to(self.device)
        for part in (network.encoder, network.decoder, network.ctc):
            if part is not None:
                part.to(dtype)
        self.network = network

    @torch.no_grad()
    def encode(self, waves: Sequence[FloatArray]) -> torch.Tensor:
        """Return encoder output (B, T, d) in `dtype` for B waves (samples,), float32 at 16 kHz.

        Every wave is padded with zeros to the whole window, and the silence is encoded too, as in training
        and in Speech2Text. So T is the same for every input.

        Raises:
            AudioTooLongError: a wave is longer than the window.
            AudioError: there are no waves, or one is not a vector.
            RuntimeError: the network is in training mode, where dropout would change the words.
        """
        if self.network.training:
            raise RuntimeError("the base network is in training mode: call network.eval() before decoding")
        # Page-locked for a GPU, which saves its driver a copy (60 MB for 32 windows).
        pinned = self.device.type == "cuda"
        speech = torch.zeros(len(waves), self.config.window_samples, pin_memory=pinned)  # (B, samples)
        fill_window(speech.numpy(), waves, self.config, self.name)
        speech = speech.to(self.device, non_blocking=pinned)
        lengths = torch.full((len(speech),), speech.size(1), dtype=torch.long, device=self.device)
        # network.encode(), but with a cast between the float32 front end and the encoder.
        feats, lengths = self.network.frontend(speech, lengths)  # (B, frames, mels)
        if self.network.normalize is not None:
            feats, lengths = self.network.normalize(feats, lengths)
        with whole_windows(self.network.encoder):
            encoded, _, _ = self.network.encoder(feats.to(self.dtype), lengths)
        # With intermediate CTC the encoder also returns its layers' outputs.
        output: torch.Tensor = encoded[0] if isinstance(encoded, tuple) else encoded
        return output


def fill_window(rows: FloatArray, waves: Sequence[FloatArray], config: ModelConfig, name: str) -> None:
    """Write the waves into rows of zeros (B, window_samples). `name` is the model's, for messages.

    Raises AudioTooLongError and AudioError, as `BaseModel.encode` does.
    """
    if not waves:
        raise AudioError("no audio given: 0 waves")
    limit = config.window_samples
    for row, wave in zip(rows, waves, strict=True):
        if wave.ndim != 1:
            raise AudioError(f"audio has shape {wave.shape}; one channel of samples is expected")
        if len(wave) > limit:
            rate = config.sample_rate_hz
            raise AudioTooLongError(
                f"audio of {len(wave) / rate:.2f} s is longer than the window of "
                f"{config.window_s:g} s of base model {name!r} "
                "(preprocessor_conf.speech_length in its config)"
            )
        row[: len(wave)] = wave
