"""Interface of a base's network to training: the loss of a batch, and the modes for training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor, nn

STATISTICS = ("loss", "loss_att", "loss_ctc", "acc")  # of a batch, means over its rows or tokens


class Regime(Protocol):
    """The part of a recipe that changes what the network computes in training; shares are 0 to 1."""

    @property
    def ctc_weight(self) -> float: ...
    @property
    def label_smoothing(self) -> float: ...
    @property
    def dropout(self) -> float | None: ...
    @property
    def freq_masks(self) -> int: ...
    @property
    def freq_mask_share(self) -> float: ...
    @property
    def time_masks(self) -> int: ...
    @property
    def time_mask_share(self) -> float: ...


class Learner(Protocol):
    """A network in training."""

    network: Any

    def loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Mapping[str, Any]]:
        """Return the loss of a batch, and STATISTICS by name, None where one does not apply.

        The batch has speech (B, samples) float32, text (B, U) int64 without the token that begins a prompt
        and without the closing one, text_ctc (B, V), text_prev (B, 1), padded with -1, and their lengths
        (B,) as `<name>_lengths`. In `validation` there is an acc.
        """
        ...

    def training(self, regime: Regime) -> AbstractContextManager[None]:
        """Return a context in training mode with the regime's loss, dropout and masks.

        Leaving the block restores everything, also after an exception.
        """
        ...

    def validation(self) -> AbstractContextManager[None]:
        """Return a context without dropout and masks, for use inside `training`."""
        ...

    def layers(self) -> Sequence[nn.Module]:
        """Return the layers of encoder and decoder, in order."""
        ...

    @property
    def passes(self) -> Sequence[str]:
        """Names of the network's methods, besides `forward`, by which the loss uses its weights."""
        ...


@contextmanager
def kept_modes(network: nn.Module) -> Iterator[None]:
    """Restore the training or evaluation mode of every module when the block is left."""
    modes = {module: module.training for module in network.modules()}
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
