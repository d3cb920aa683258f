"""ESPnet's S2T-CTC network in training: its loss, and contexts that set it up and restore it afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ssvd_asr.base.learner import Regime
from ssvd_asr.base.owsm.learner import steady_training, validation_mode
from ssvd_asr.base.spec_augment import spec_augment

IGNORED = -1  # padding of targets, as in ESPnet
_HEAD = 2  # language and task begin a target, and are told to the encoder


class OwsmCtcLearner:
    """`Learner` over an ESPnetS2TCTCModel."""

    def __init__(self, network: Any) -> None:
        self.network = network

    def loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Mapping[str, Any]]:
        """See Learner. The loss is ESPnet's: CTC of the last layer and of the intermediate ones.

        A target is language, task and pieces. OWSM-CTC says no times, so those of `text` are left out.
        The accuracy, in validation only, is 1 less the errors of the best path for each token of the targets.
        """
        head = batch["text"][:, :_HEAD]
        said = torch.cat([head, batch["text_ctc"]], dim=1)
        lengths = batch["text_ctc_lengths"] + _HEAD
        loss, statistics, _ = self.network(
            speech=batch["speech"],
            speech_lengths=batch["speech_lengths"],
            text=said,
            text_lengths=lengths,
            text_ctc=said,
            text_ctc_lengths=lengths,
            text_prev=batch["text_prev"].clone(),  # ESPnet fills its padding in place
            text_prev_lengths=batch["text_prev_lengths"],
            prefix=head,
            prefix_lengths=torch.full_like(lengths, _HEAD),
        )
        return loss, {
            "loss": statistics["loss"],
            "loss_att": None,
            "loss_ctc": statistics["loss_ctc"],
            "acc": statistics["cer_ctc"],  # see _accuracy
        }

    @contextmanager
    def training(self, regime: Regime) -> Iterator[None]:
        """See Learner. There is no decoder, so the weight of CTC and label smoothing are not used."""
        network = self.network
        specaug, calculator = network.specaug, network.error_calculator
        with steady_training(network, regime):
            try:
                network.specaug = spec_augment(regime, network.frontend.output_size())
                network.error_calculator = partial(_accuracy, network.blank_id)  # called in validation only
                yield
            finally:
                network.specaug, network.error_calculator = specaug, calculator

    def validation(self) -> AbstractContextManager[None]:
        """See Learner."""
        return validation_mode(self.network)

    def layers(self) -> list[nn.Module]:
        """See Learner."""
        return [*self.network.encoder.encoders]

    @property
    def passes(self) -> tuple[str, ...]:
        """See Learner."""
        return ()


def _accuracy(blank: int, best: Tensor, targets: Tensor, *, is_ctc: bool) -> float:
    """Return 1 less the errors of best paths (B, T) for each token of targets (B, U); it may be below 0.

    It takes the place of ESPnet's calculator of character errors; `is_ctc` is an argument of that.
    """
    from torchaudio.functional import edit_distance

    assert is_ctc
    errors = tokens = 0
    for path, target in zip(best, targets, strict=True):
        found = torch.unique_consecutive(path)
        wanted = target[target != IGNORED].tolist()
        errors += edit_distance(found[found != blank].tolist(), wanted)
        tokens += len(wanted)
    return 1.0 - errors / max(1, tokens)
