"""The learning rate: ESPnet's piecewise warm-up, and a cosine that ends low."""

from __future__ import annotations

import pytest
import torch

from training.loop.schedule import learning_rate
from training.recipe import NANO, OWSM


def test_piecewise_equals_espnets_scheduler() -> None:
    from espnet2.schedulers.piecewise_linear_warmup_lr import PiecewiseLinearWarmupLR

    recipe = OWSM.changed(warmup_steps=7, lr=1e-3)
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=recipe.lr)
    scheduler = PiecewiseLinearWarmupLR(optimizer, [0, 7], [0.0, recipe.lr])
    for step in range(1, 40):
        assert learning_rate(recipe, step, 40) == pytest.approx(scheduler.get_last_lr()[0], rel=1e-12)
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize("total", [1, 3, 20, 1000])
def test_cosine_warms_up_within_a_fifth_and_ends_at_one_percent(total: int) -> None:
    rates = [learning_rate(NANO, step, total) for step in range(1, total + 1)]
    peak = max(range(total), key=rates.__getitem__)
    assert rates[peak] == pytest.approx(NANO.lr)
    assert peak + 1 <= max(1, total // 5)
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    if total > 1:
        assert rates[-1] == pytest.approx(NANO.lr / 100)
