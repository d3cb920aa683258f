"""Number of directions for each layer, chosen so that an adapter trains at most a given count of numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from ssvd_asr.adapter.forms import BudgetRule, CoreForm, Directions
from ssvd_asr.basis.factors import LayerFactors
from ssvd_asr.errors import AdapterError

_HALVINGS = 40  # of the interval of shares; what is left is far below one direction of any layer


def ks_within(
    budget: int,
    factors: Mapping[str, LayerFactors],
    form: CoreForm,
    rule: BudgetRule,
    directions: Directions = "head",
) -> dict[str, int]:
    """Return k by layer name, for the largest share at which all layers train at most `budget` numbers.

    Rules:
        energy: each layer takes the directions, counted from the end that trains, that hold this share of
            its energy, the sum of sigma^2. Of heads, a layer whose spectrum falls slowly takes more.
        shape: each layer takes this share of its min(m, n), as `p` does.

    A rest of the budget that is too small for the next step stays unused. Layers without a direction are
    left out.

    Raises AdapterError where the budget is too small for any direction, or the form has no k to choose.
    """
    if form.method == "svft":
        raise AdapterError(f"a budget chooses k, and {form.map!r} takes every direction: give off_diagonals")
    count = _by_shape(factors) if rule == "shape" else _by_energy(factors, directions)

    def spent(share: float) -> int:
        return sum(form.parameters(k) for k in count(share).values() if k)

    low, high = 0.0, 1.0
    if spent(high) <= budget:
        low = high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if spent(middle) <= budget else (low, middle)
    ks = {name: k for name, k in count(low).items() if k}
    if not ks:
        raise AdapterError(f"budget={budget} is too small for one direction in any layer")
    return ks


_Count = Callable[[float], dict[str, int]]  # share -> k by layer


def _by_shape(factors: Mapping[str, LayerFactors]) -> _Count:
    return lambda share: {name: min(int(share * each.rank), each.cut) for name, each in factors.items()}


def _by_energy(factors: Mapping[str, LayerFactors], directions: Directions) -> _Count:
    held: dict[str, torch.Tensor] = {}  # share of the energy in the first (tail: last) 1, 2, ... directions
    for name, each in factors.items():
        sigma = each.s[: each.cut]
        energy = (sigma if directions == "head" else sigma.flip(0)).square().cumsum(0)
        held[name] = energy / energy[-1:]

    def count(share: float) -> dict[str, int]:
        return {name: int((each <= share).sum()) for name, each in held.items()}

    return count
