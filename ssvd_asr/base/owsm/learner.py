"""ESPnet's S2T network in training: its loss, and contexts that set it up and restore it afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from torch import Tensor, nn

from ssvd_asr.base.learner import Regime, kept_modes
from ssvd_asr.base.spec_augment import spec_augment

# Layers that update statistics in training mode; the frozen base must keep its own.
_STATISTICS = (nn.modules.batchnorm._BatchNorm,)


class OwsmLearner:
    """`Learner` over an ESPnetS2TModel."""

    def __init__(self, network: Any) -> None:
        self.network = network

    def loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Mapping[str, Any]]:
        """See Learner. As in ESPnet, the padding silence counts as speech."""
        loss, statistics, _ = self.network(**batch)
        return loss, statistics

    def training(self, regime: Regime) -> AbstractContextManager[None]:
        """See Learner."""
        return training_mode(self.network, regime)

    def validation(self) -> AbstractContextManager[None]:
        """See Learner."""
        return validation_mode(self.network)

    def layers(self) -> list[nn.Module]:
        """See Learner."""
        return [*self.network.encoder.encoders, *self.network.decoder.decoders]

    @property
    def passes(self) -> tuple[str, ...]:
        """See Learner."""
        return ()


@contextmanager
def training_mode(network: Any, regime: Regime) -> Iterator[None]:
    """Put an ESPnetS2TModel into training mode with the regime's loss, dropout and SpecAugment.

    Losses and masks are the regime's, not those of the base's training. Dropout is that of the base's
    configuration unless the regime gives a rate. Leaving the block restores modes, rates, losses and
    SpecAugment, also after an exception.
    """
    losses = (network.ctc_weight, network.criterion_att.smoothing, network.criterion_att.confidence)
    specaug, calculator = network.specaug, network.error_calculator
    with steady_training(network, regime):
        try:
            _set_losses(network, regime.ctc_weight, regime.label_smoothing, 1.0 - regime.label_smoothing)
            network.specaug = spec_augment(regime, network.frontend.output_size())
            # It would compute edit distances of every validation batch on the host.
            network.error_calculator = None
            yield
        finally:
            network.specaug, network.error_calculator = specaug, calculator
            _set_losses(network, *losses)


@contextmanager
def steady_training(network: Any, regime: Regime) -> Iterator[None]:
    """Put a network of ESPnet into training mode with the regime's dropout; statistics stay the base's.

    Leaving the block restores modes, rates and position tables, also after an exception.
    """
    dropouts = {module: module.p for module in network.modules() if isinstance(module, nn.Dropout)}
    rates = {module: module.dropout_rate for module in network.modules() if hasattr(module, "dropout_rate")}
    # Under autocast ESPnet rounds its position tables and keeps the rounded ones.
    positions = {module: module.pe for module in network.modules() if hasattr(module, "pe")}
    with kept_modes(network):
        try:
            network.train()
            for module in network.modules():
                if isinstance(module, _STATISTICS):
                    module.eval()
            if regime.dropout is not None:
                for module in dropouts:
                    module.p = regime.dropout
                for module in rates:  # used by the CTC and by torch's own attention
                    module.dropout_rate = regime.dropout
            yield
        finally:
            for module, rate in dropouts.items():
                module.p = rate
            for module, rate in rates.items():
                module.dropout_rate = rate
            for module, table in positions.items():
                module.pe = table


@contextmanager
def validation_mode(network: Any) -> Iterator[None]:
    """Switch dropout and masks off for a block inside `training_mode`."""
    ctc_dropout = network.ctc.dropout_rate if network.ctc is not None else None
    with kept_modes(network):
        try:
            network.eval()
            if network.ctc is not None:
                network.ctc.dropout_rate = 0.0  # ESPnet's CTC applies dropout in eval mode too
            yield
        finally:
            if network.ctc is not None:
                network.ctc.dropout_rate = ctc_dropout


def _set_losses(network: Any, ctc_weight: float, smoothing: float, confidence: float) -> None:
    network.ctc_weight = ctc_weight
    network.criterion_att.smoothing = smoothing
    network.criterion_att.confidence = confidence
