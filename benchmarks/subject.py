"""Model that a benchmark runs: an OWSM of a real shape with random weights and adapted linears.

Time does not depend on the values, so the basis is any orthonormal one and the domains are random. It needs
ESPnet's model classes, but no checkpoint and no network access.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np
import torch
from torch import Tensor

from ssvd_asr.adapted_model import AdaptedModel, adapt
from ssvd_asr.base.model import BaseModel
from ssvd_asr.base.owsm.shapes import SHAPES, random_base
from ssvd_asr.base.owsm.static_decoder import open_decoder
from ssvd_asr.base.prompt import Prompt
from ssvd_asr.base.window import FloatArray
from ssvd_asr.basis.factors import LayerFactors
from ssvd_asr.basis.layers import match_layers
from ssvd_asr.decoding.greedy import greedy
from ssvd_asr.decoding.hypothesis import Hypothesis
from ssvd_asr.mixing.mixture import CoreStack

CORE_SCALE = 0.02  # of the random cores; the outputs stay finite
POOL = 4  # number of different random domains, repeated over the slots


@dataclass(frozen=True)
class Subject:
    """An adapted base and the k of each of its layers."""

    shape: str
    base: BaseModel
    adapted: AdaptedModel
    k: dict[str, int]

    def waves(self, rows: int) -> list[FloatArray]:
        """Return `rows` waves of noise that fill the window, (samples,) each."""
        generator = np.random.default_rng(rows)
        samples = self.base.window.samples
        return [0.1 * generator.standard_normal(samples, dtype=np.float32) for _ in range(rows)]

    def encode(self, waves: Sequence[FloatArray]) -> Tensor:
        """Return the encoder output (B, T, d)."""
        return self.base.encode(waves)

    @torch.no_grad()
    def decode(self, encoded: Tensor, steps: int, static: bool | None = None) -> Tensor:
        """Return the best token at each of `steps` steps, (B, steps). For `static` see `open_decoder`."""
        said: list[Tensor] = []
        with open_decoder(self.base.network.decoder, encoded, static=static) as decoder:
            scores = decoder.read([self.base.tokens.prompt_ids(Prompt())] * len(encoded))
            while True:
                said.append(scores.argmax(dim=-1, keepdim=True))
                if len(said) == steps:
                    return torch.cat(said, dim=1)
                scores = decoder.advance(said[-1])

    def decode_uneven(self, encoded: Tensor, steps: int) -> list[Hypothesis]:
        """Return greedy hypotheses of rows that end one after the other, the last after `steps` steps."""
        rows = len(encoded)
        limits = [max(1, steps * (row + 1) // rows) for row in range(rows)]
        return greedy(self.base, encoded, [Prompt()] * rows, limits)

    def stack(self, domains: int, **options: object) -> CoreStack:
        """Return a stack with random cores in slots 1 to `domains`."""
        stack = CoreStack(self.adapted.layers, domains + 1, self.k, **options)  # type: ignore[arg-type]
        device, generator = self.base.device, torch.Generator().manual_seed(7)
        pool = [
            {
                name: (CORE_SCALE * torch.randn(k, k, generator=generator)).to(device)
                for name, k in self.k.items()
            }
            for _ in range(min(POOL, domains))
        ]
        for slot in range(1, domains + 1):
            stack.write(slot, pool[slot % len(pool)])
        return stack


def subject(
    shape: str, *, p: float, device: torch.device | str = "cpu", dtype: torch.dtype | None = None,
    window_s: float | None = None,
) -> Subject:  # fmt: skip
    """Build a named shape (ssvd_asr.base.owsm.shapes.SHAPES) with k = int(p min(m, n)) in every layer."""
    wanted = SHAPES[shape] if window_s is None else replace(SHAPES[shape], window_s=window_s)
    base = random_base(wanted, device=device, dtype=dtype)
    linears = match_layers(base.network)
    k = {name: int(p * min(linear.weight.shape)) for name, linear in linears.items()}
    alike = cache(partial(stand_in, device=base.device))  # equal for layers that are alike
    factors = {
        name: alike(linear.out_features, linear.in_features, k[name]) for name, linear in linears.items()
    }
    return Subject(shape, base, adapt(base.network, factors), k)


def stand_in(m: int, n: int, k: int, *, device: torch.device) -> LayerFactors:
    """Return factors of k random orthonormal directions on each side."""
    u, v = (torch.linalg.qr(torch.randn(side, k, device=device))[0] for side in (m, n))
    return LayerFactors(u, torch.linspace(2.0, 1.0, k, dtype=torch.float64), v.mT, k)


def working_dtype(device: torch.device) -> torch.dtype:
    """Return bfloat16 on a GPU that supports it, else float32."""
    capable = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if capable else torch.float32
