"""Whisper in training: its loss, and contexts that set it up and restore it afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ssvd_asr.base.learner import Regime, kept_modes
from ssvd_asr.base.spec_augment import spec_augment
from ssvd_asr.base.whisper.attention import training_attention
from ssvd_asr.base.whisper.encoder import encode
from ssvd_asr.base.whisper.features import LogMel

IGNORED = -100
_PASS = "logits_of"  # name of `_logits` as a method of the network
_RATES = ("dropout", "attention_dropout", "activation_dropout")  # attributes of transformers' modules


class WhisperLearner:
    """`Learner` over a WhisperForConditionalGeneration."""

    def __init__(self, network: Any, features: LogMel, sos: int, eos: int) -> None:
        self.network = network
        setattr(network, _PASS, MethodType(_logits, network))
        self._features = features
        self._sos, self._eos = sos, eos
        self._masks: nn.Module | None = None
        self._smoothing = 0.0

    def loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Mapping[str, Any]]:
        """See Learner. The loss is the sum over a row's tokens, mean over rows, as ESPnet's."""
        features = self._features(batch["speech"])  # (B, mels, frames)
        if self._masks is not None and self.network.training:
            lengths = torch.full((len(features),), features.size(2), device=features.device)
            features = self._masks(features.mT, lengths)[0].mT
        told, wanted = self._targets(batch["text"], batch["text_lengths"])
        real = wanted != IGNORED
        logits = getattr(self.network, _PASS)(features, told, real).float()  # (real tokens, V)
        wanted = wanted[real]
        total = functional.cross_entropy(logits, wanted, label_smoothing=self._smoothing, reduction="sum")
        loss = total / len(told)
        accuracy = (logits.detach().argmax(dim=-1) == wanted).float().mean()
        return loss, {"loss": loss.detach(), "loss_att": loss.detach(), "loss_ctc": None, "acc": accuracy}

    @contextmanager
    def training(self, regime: Regime) -> Iterator[None]:
        """See Learner. There is no CTC, so its weight is not used."""
        rates = {
            (module, name): getattr(module, name)
            for module in self.network.modules()
            for name in _RATES
            if isinstance(getattr(module, name, None), float | int)
        }
        before = self._masks, self._smoothing
        config = self.network.config
        usual = config._attn_implementation
        with kept_modes(self.network):
            try:
                self.network.train()
                config._attn_implementation = training_attention()
                if regime.dropout is not None:
                    for module, name in rates:
                        setattr(module, name, regime.dropout)
                self._masks = spec_augment(regime, self.network.config.num_mel_bins)
                self._smoothing = regime.label_smoothing
                yield
            finally:
                self._masks, self._smoothing = before
                config._attn_implementation = usual
                for (module, name), rate in rates.items():
                    setattr(module, name, rate)

    @contextmanager
    def validation(self) -> Iterator[None]:
        """See Learner."""
        with kept_modes(self.network):
            self.network.eval()
            yield

    def layers(self) -> list[nn.Module]:
        """See Learner."""
        return [*self.network.model.encoder.layers, *self.network.model.decoder.layers]

    @property
    def passes(self) -> tuple[str, ...]:
        """See Learner."""
        return (_PASS,)

    def _targets(self, text: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the decoder reads and what it is to say, each (B, U + 1), of text (B, U)."""
        rows, longest = text.shape
        told = torch.full((rows, longest + 1), self._eos, dtype=torch.long, device=text.device)
        told[:, 0] = self._sos
        told[:, 1:] = text.masked_fill(text < 0, self._eos)
        wanted = torch.full_like(told, IGNORED)
        wanted[:, :-1] = text.masked_fill(text < 0, IGNORED)
        wanted.scatter_(1, lengths.unsqueeze(1), self._eos)
        return told, wanted


def _logits(network: Any, features: Tensor, told: Tensor, real: Tensor) -> Tensor:
    """Return logits (N, V) after the N tokens of told (B, U + 1) where `real` is true, row by row.

    Features (B, mels, frames) are of any length; transformers' own forward takes whole windows only. Logits
    after padding would cost as much as those that count: V is 51,865. A method of the network is sharded as
    its forward is.
    """
    encoder = network.model.encoder
    encoded = encode(encoder, features.to(encoder.conv1.weight.dtype))
    hidden = network.model.decoder(input_ids=told, encoder_hidden_states=encoded, use_cache=False)
    logits: Tensor = network.proj_out(hidden.last_hidden_state[real])
    return logits
