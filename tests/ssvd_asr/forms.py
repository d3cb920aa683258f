"""Every form that lives in the shared basis, in a small size."""

from __future__ import annotations

from ssvd_asr.adapter.adapter import Adapter
from ssvd_asr.adapter.forms import MAPS, CoreForm, Directions
from ssvd_asr.basis.factors import LayerFactors
from tests.ssvd_asr.toy import Toy, toy_factors, train_at_random

FACTORS = toy_factors(Toy())

# name: (form, directions, k or None for all)
FORMS: dict[str, tuple[CoreForm, Directions, int | None]] = {
    **{name: (CoreForm(name), "head", 5) for name in MAPS},
    "lora-xs": (CoreForm("lora-xs"), "head", 5),
    "svft-plain": (CoreForm("svft-plain"), "head", None),
    "svft-banded": (CoreForm("svft-banded", off_diagonals=2), "head", None),
    "svft-top-k": (CoreForm("svft-top-k", off_diagonals=2), "head", None),
    "svft-random": (CoreForm("svft-random", off_diagonals=2), "head", None),
    "two-sided": (CoreForm("first-order", outer=True), "head", 5),
    "two-sided-cayley": (CoreForm("cayley", outer=True), "head", 5),
    "tail": (CoreForm("first-order"), "tail", 4),
    "tail-rotation": (CoreForm("first-order", delta_sigma=False), "tail", 4),
    "tail-lora-xs": (CoreForm("lora-xs"), "tail", 4),
}
SECOND = tuple(name for name in FORMS if name not in MAPS)  # format version 1 cannot say them


def new_adapter(name: str, factors: dict[str, LayerFactors] = FACTORS) -> Adapter:
    """Untrained."""
    form, directions, k = FORMS[name]
    return Adapter.new(factors, k=k, rotation_map=form, directions=directions)


def trained(name: str, seed: int = 0) -> Adapter:
    """With random numbers."""
    return train_at_random(new_adapter(name), seed=seed)
