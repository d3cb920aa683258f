"""Learning rate as a function of the step, with no state to save."""

from __future__ import annotations

import math

from training.recipe import Recipe

_FINAL_SHARE = 0.01  # of the peak, where the cosine ends
_MAX_WARMUP_SHARE = 0.2  # of a cosine run, so that a short run does not end in its warm-up


def learning_rate(recipe: Recipe, step: int, total_steps: int) -> float:
    """Return the rate of optimiser step ``step`` (from 1) of ``total_steps``.

    piecewise: linear from 0 to lr over warmup_steps, then lr * sqrt(warmup_steps / step), like ESPnet's
    PiecewiseLinearWarmupLR with the points (0, 0) and (warmup_steps, lr).
    cosine: the same warm-up over at most a fifth of the run, then half a cosine down to 1 % of lr.
    """
    if recipe.schedule == "piecewise":
        if step <= recipe.warmup_steps:
            return recipe.lr * step / recipe.warmup_steps
        return recipe.lr * math.sqrt(recipe.warmup_steps / step)
    warmup = max(1, min(recipe.warmup_steps, int(_MAX_WARMUP_SHARE * total_steps)))
    if step <= warmup:
        return recipe.lr * step / warmup
    done = min(1.0, (step - warmup) / max(1, total_steps - warmup))
    return recipe.lr * (_FINAL_SHARE + (1 - _FINAL_SHARE) * 0.5 * (1 + math.cos(math.pi * done)))
