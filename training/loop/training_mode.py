"""Contexts that set a network up for training or validation and restore it afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from training.recipe import Recipe

# Layers that update statistics in training mode; the frozen base must keep its own.
_STATISTICS = (nn.modules.batchnorm._BatchNorm,)


@contextmanager
def training_mode(network: Any, recipe: Recipe) -> Iterator[None]:
    """Put an ESPnetS2TModel into training mode with the recipe's loss, dropout and SpecAugment.

    Losses and masks are the recipe's, not those of the base's training. Dropout is that of the base's
    configuration unless the recipe gives a rate. Leaving the block restores modes, rates, losses and
    SpecAugment, also after an exception.
    """
    modes = {module: module.training for module in network.modules()}
    dropouts = {module: module.p for module in network.modules() if isinstance(module, nn.Dropout)}
    rates = {module: module.dropout_rate for module in network.modules() if hasattr(module, "dropout_rate")}
    # Under autocast ESPnet rounds its position tables and keeps the rounded ones.
    positions = {module: module.pe for module in network.modules() if hasattr(module, "pe")}
    losses = (network.ctc_weight, network.criterion_att.smoothing, network.criterion_att.confidence)
    specaug, calculator = network.specaug, network.error_calculator
    try:
        network.train()
        for module in network.modules():
            if isinstance(module, _STATISTICS):
                module.eval()
        if recipe.dropout is not None:
            for module in dropouts:
                module.p = recipe.dropout
            for module in rates:  # used by the CTC and by torch's own attention
                module.dropout_rate = recipe.dropout
        _set_losses(network, recipe.ctc_weight, recipe.label_smoothing, 1.0 - recipe.label_smoothing)
        network.specaug = spec_augment(recipe, network.frontend.output_size())
        network.error_calculator = None  # would compute edit distances of every validation batch on the host
        yield
    finally:
        network.specaug, network.error_calculator = specaug, calculator
        _set_losses(network, *losses)
        for module, rate in dropouts.items():
            module.p = rate
        for module, rate in rates.items():
            module.dropout_rate = rate
        for module, table in positions.items():
            module.pe = table
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def validation_mode(network: Any) -> Iterator[None]:
    """Switch dropout and masks off for a block inside `training_mode`."""
    modes = {module: module.training for module in network.modules()}
    ctc_dropout = network.ctc.dropout_rate if network.ctc is not None else None
    try:
        network.eval()
        if network.ctc is not None:
            network.ctc.dropout_rate = 0.0  # ESPnet's CTC applies dropout in eval mode too
        yield
    finally:
        if network.ctc is not None:
            network.ctc.dropout_rate = ctc_dropout
        for module, mode in modes.items():
            module.training = mode


def spec_augment(recipe: Recipe, bins: int) -> nn.Module | None:
    """Return ESPnet's SpecAugment with the recipe's masks and no time warp, or None without masks."""
    from espnet2.asr.specaug.specaug import SpecAug

    width = round(recipe.freq_mask_share * bins)
    frequency = recipe.freq_masks > 0 and width > 0
    time = recipe.time_masks > 0 and recipe.time_mask_share > 0
    if not frequency and not time:
        return None
    module: nn.Module = SpecAug(
        apply_time_warp=False,
        apply_freq_mask=frequency,
        freq_mask_width_range=(0, max(1, width)),
        num_freq_mask=recipe.freq_masks,
        apply_time_mask=time,
        time_mask_width_ratio_range=(0.0, max(recipe.time_mask_share, 1e-9)),
        num_time_mask=recipe.time_masks,
    )
    return module


def _set_losses(network: Any, ctc_weight: float, smoothing: float, confidence: float) -> None:
    network.ctc_weight = ctc_weight
    network.criterion_att.smoothing = smoothing
    network.criterion_att.confidence = confidence
