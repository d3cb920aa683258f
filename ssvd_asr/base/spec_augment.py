"""SpecAugment by ESPnet's module: masks over frequencies and times, without time warp."""

from __future__ import annotations

from torch import nn

from ssvd_asr.base.learner import Regime


def spec_augment(regime: Regime, bins: int) -> nn.Module | None:
    """Return the module for features (B, frames, bins), or None without masks.

    Called with features and lengths, it returns both. It masks in training mode only.
    """
    from espnet2.asr.specaug.specaug import SpecAug

    width = round(regime.freq_mask_share * bins)
    frequency = regime.freq_masks > 0 and width > 0
    time = regime.time_masks > 0 and regime.time_mask_share > 0
    if not frequency and not time:
        return None
    module: nn.Module = SpecAug(
        apply_time_warp=False,
        apply_freq_mask=frequency,
        freq_mask_width_range=(0, max(1, width)),
        num_freq_mask=regime.freq_masks,
        apply_time_mask=time,
        time_mask_width_ratio_range=(0.0, max(regime.time_mask_share, 1e-9)),
        num_time_mask=regime.time_masks,
    )
    return module
