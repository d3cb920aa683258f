"""A three-linear network with a tall, a wide and a square layer: the smallest thing that can be adapted."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ssvd_asr.adapter.adapter import Adapter
from ssvd_asr.base.probe import Probe
from ssvd_asr.basis.factors import LayerFactors, canonical_svd

PATTERNS = ("tall", "wide", "square")


class Toy(nn.Module):
    """(..., 12) -> (..., 16) -> (..., 10) -> (..., 10), and a head that is never adapted."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.tall = nn.Linear(12, 16)
            self.wide = nn.Linear(16, 10)
            self.square = nn.Linear(10, 10, bias=False)
            self.head = nn.Linear(10, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden: Tensor = torch.tanh(self.tall(x))
        logits: Tensor = self.head(torch.tanh(self.square(self.wide(hidden))))
        return logits


TOY_PROBE = Probe("toy-1", lambda model: {"logits": model(inputs().to(next(model.parameters())))})


@dataclass(frozen=True)
class ToyBase:
    """What an adapter file is checked against."""

    network: nn.Module
    digest: str = "sha256:toy"
    name: str = "toy"
    linears: tuple[str, ...] = PATTERNS
    probe: Probe = TOY_PROBE


def toy_factors(model: nn.Module) -> dict[str, LayerFactors]:
    """Factors of the adaptable layers of an unadapted Toy."""
    return {name: canonical_svd(model.get_parameter(f"{name}.weight")) for name in PATTERNS}


def train_at_random(adapter: Adapter, scale: float = 0.1, seed: int = 0) -> Adapter:
    """Give an adapter numbers as training might, the same for each seed."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
    return adapter


def inputs(rows: int = 4, steps: int = 5, seed: int = 0) -> Tensor:
    """Random input (rows, steps, 12)."""
    return torch.randn(rows, steps, 12, generator=torch.Generator().manual_seed(seed))
