"""Probe: a named fixed input for a model, whose outputs the adapters' canaries compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Probe:
    """A named fixed input. `run` puts it through a model and returns its outputs by name."""

    name: str
    run: Callable[[nn.Module], Mapping[str, Tensor]]
