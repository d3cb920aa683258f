"""Fit of a blend: the weights of its parts with the lowest WER, by a coordinate search over a small grid."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ssvd_asr.errors import BlendError

GRID = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25)  # of each weight; 0 leaves the part out
START = 0.75
ROUNDS = 3  # through all parts, at most

Weights = tuple[float, ...]


@dataclass(frozen=True)
class Fit:
    """The weights that were chosen, and the WER of all that were tried, as ratios."""

    weights: Weights
    wer: Mapping[Weights, float]

    def as_json(self) -> dict[str, Any]:
        """Return the fields of a training summary."""
        tried = {",".join(f"{each:g}" for each in weights): wer for weights, wer in self.wer.items()}
        return {"blend_valid_wer": tried}


def fit_weights(wer_at: Callable[[Weights], float], parts: int, report: Callable[[str], None]) -> Fit:
    """Choose the weights of a blend.

    All begin at START. In turn, each weight takes the value of GRID with the lowest WER while the others
    stay, until no weight changes or ROUNDS are over. Of equal rates the smaller weight wins, which is closer
    to the base.

    Args:
        wer_at: decodes the validation data with these weights. It is called once for each.
        report: takes a line for each rate.

    Raises BlendError if the base alone, all weights 0, has the lowest rate found.
    """
    found: dict[Weights, float] = {}

    def wer(weights: Weights) -> float:
        if weights not in found:
            found[weights] = wer_at(weights)
            report(f"weights {', '.join(f'{each:g}' for each in weights)}: WER {found[weights]:.2%}")
        return found[weights]

    best = (START,) * parts
    for _ in range(ROUNDS):
        before = best
        for part in range(parts):
            line = [(*best[:part], value, *best[part + 1 :]) for value in GRID]
            best = min(line, key=lambda weights: (wer(weights), sum(weights)))
        if best == before:
            break
    if not any(best):
        raise BlendError(f"no weights are better on these data than the base alone ({found[best]:.2%} WER)")
    return Fit(best, found)
