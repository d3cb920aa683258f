"""Scale of a trained change: one factor on everything that training added to the base, chosen by WER.

A factor below 1 keeps more of the base. For whole weights W it gives base + scale * (W - base), the
interpolation of Wortsman et al. (arXiv 2109.01903). For LoRA that is the same as another alpha.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from ssvd_asr.adapted_model import AdaptedModel
    from ssvd_asr.adapter.adapter import Adapter
    from ssvd_asr.base.model import BaseModel

SCALES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)


@dataclass(frozen=True)
class Scale:
    """The factor on a trained change, and what it was chosen from."""

    value: float
    valid_wer: Mapping[float, float] = field(default_factory=dict)  # by factor; empty: given, not chosen

    def as_json(self) -> dict[str, Any]:
        """Return the fields of a run's summary."""
        tried = {f"{factor:g}": wer for factor, wer in self.valid_wer.items()}
        return {"scale": self.value, **({"scale_valid_wer": tried} if tried else {})}


class Scalable(Protocol):
    """A trained change of a base that can be applied at any scale."""

    base: BaseModel

    def at(self, scale: float) -> dict[str, Any]:
        """Apply the change times ``scale`` and return the arguments of `evaluate` that select it."""
        ...


class ScalableAdapter:
    """An adapter in the shared basis: its trained numbers are multiplied, in place."""

    def __init__(self, base: BaseModel, adapted: AdaptedModel, adapter: Adapter) -> None:
        self.base = base
        self.adapted = adapted
        self.adapter = adapter
        self.trained = {name: numbers.clone() for name, numbers in adapter.state.items()}

    def at(self, scale: float) -> dict[str, Any]:
        import torch

        self.adapter.load_state({name: scale * numbers for name, numbers in self.trained.items()})
        with torch.no_grad():
            return {"adapted": self.adapted, "cores": self.adapter.cores(self.base.dtype)}


class ScalableWeights:
    """Whole weights of a network, between the base's and the trained ones; `base` holds the result."""

    def __init__(self, base: BaseModel, trained: Mapping[str, Tensor]) -> None:
        """``base`` is as loaded; ``trained`` has the names and shapes of its network's state."""
        self.base = base
        self.trained = trained
        self.original = {name: weight.clone() for name, weight in base.network.state_dict().items()}

    def at(self, scale: float) -> dict[str, Any]:
        from ssvd_asr.base.weights import fill

        fill(self.base.network, self.state(scale), "interpolated weights")
        return {}

    def state(self, scale: float) -> dict[str, Tensor]:
        """Return base + scale * (trained - base) by name; exactly the trained weights at 1."""
        return {
            name: weight.lerp(self.trained[name].to(weight), scale)
            if weight.is_floating_point()
            else self.trained[name]
            for name, weight in self.original.items()
        }


def choose_scale(wer_at: Callable[[float], float], report: Callable[[str], None]) -> Scale:
    """Return the scale of SCALES with the lowest WER; of equal ones the smallest, closest to the base.

    Args:
        wer_at: decodes the validation data with the change at a scale.
        report: takes a line with all rates.
    """
    found = {factor: wer_at(factor) for factor in SCALES}
    scale = Scale(min(found, key=lambda factor: (found[factor], factor)), found)
    told = ", ".join(f"{factor:g}: {wer:.2%}" for factor, wer in found.items())
    report(f"scale {scale.value:g}, by the WER on validation data ({told})")
    return scale
