"""Linear layer for any domain: a frozen weight, its shared basis, and an exchangeable small core D.

    y = W x + b + U_k ( D (V_k^T x) )

W, U and V belong to the base and are held once for all domains. Each domain has its own D.
"""

from __future__ import annotations

from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from ssvd_asr.basis.factors import LayerFactors
from ssvd_asr.errors import AdapterError
from ssvd_asr.layer.step import can_step, merged_weight, merges, step
from ssvd_asr.layer.step_cost import StepForm

LANES = 8  # numbers that tensor cores read at a time in half precision, 16 bytes


def in_lanes(k: int, device: torch.device) -> int:
    """Return k, on a GPU rounded up to a multiple of LANES.

    Products with 409 directions take twice as long as with 416.
    """
    return k if device.type == "cpu" else -(-k // LANES) * LANES


class Instead(Protocol):
    """Callable that replaces an adapted layer's forward while a batch of several domains runs."""

    def __call__(self, x: Tensor) -> Tensor:
        """Map x (B, ..., n) to (B, ..., m)."""
        ...


class AdaptedLinear(nn.Module):
    """An `nn.Linear` with a shared basis and an exchangeable core; it owns no trainable parameter.

    `core` is None (exactly the plain layer), (k, k) for every row, or (B, k, k) with one core per row of x's
    first axis. Zero rows and columns may pad smaller cores to a common k without changing the result.
    The core acts on the k directions from `start` on, so tail directions train without those before them.
    While a mixture is open (`AdaptedModel.mixing`), `mixed` computes the forward instead.
    """

    ut: Tensor  # (r, m) rows are u_i
    vh: Tensor  # (r, n) rows are v_i

    def __init__(self, linear: nn.Linear, factors: LayerFactors, rank: int | None = None) -> None:
        """Wrap `linear` (the same object, not a copy) and hold the first `rank` directions (default: all).

        Raises AdapterError if the factors are not of this weight's shape.
        """
        super().__init__()
        if factors.shape != tuple(linear.weight.shape):
            raise AdapterError(f"factors of a {factors.shape} weight do not fit {tuple(linear.weight.shape)}")
        rank = factors.rank if rank is None else min(rank, factors.rank)
        weight = linear.weight
        self.linear = linear
        self.core: Tensor | None = None
        self.start = 0
        self.mixed: Instead | None = None
        self.step_form: StepForm | Literal["auto"] = "auto"  # for passes in which a core (k, k) trains
        # Not persistent: the basis comes from the weight or the factor cache, never from a checkpoint.
        # A transposed U keeps the first k directions contiguous, for every k.
        ut = factors.u.mT[:rank].to(device=weight.device, dtype=weight.dtype).contiguous()
        vh = factors.vh[:rank].to(device=weight.device, dtype=weight.dtype).contiguous()
        self.rank = rank  # directions held; zero rows may follow them
        self.register_buffer("ut", _whole_lanes(ut), persistent=False)
        self.register_buffer("vh", _whole_lanes(vh), persistent=False)

    def join(self) -> None:
        """Move W and V^T next to each other in memory, so that one product can use both (`joined`).

        The values do not change, and `linear.weight` stays the same parameter.
        """
        weight = self.linear.weight
        both = torch.cat([weight.detach(), self.vh])
        weight.data = both[: len(weight)]
        self.vh = both[len(weight) :]

    def joined(self, k: int) -> Tensor | None:
        """Return W above V_k^T (m + k, n), a view; None unless they are adjacent and their rows aligned."""
        weight, vh = self.linear.weight, self.vh
        follows = weight.data_ptr() + weight.numel() * weight.element_size() == vh.data_ptr()
        same = weight.untyped_storage().data_ptr() == vh.untyped_storage().data_ptr()
        if not (follows and same) or (len(weight) + k) % LANES or len(weight) % LANES:
            return None
        return weight.detach().as_strided((len(weight) + k, weight.shape[1]), (weight.shape[1], 1))

    @property
    def weight(self) -> Tensor:
        """The frozen weight (m, n)."""
        return self.linear.weight

    @property
    def bias(self) -> Tensor | None:
        """The frozen bias (m,), or None."""
        return self.linear.bias

    @property
    def in_features(self) -> int:
        return self.linear.in_features

    @property
    def out_features(self) -> int:
        return self.linear.out_features

    def check_core(self, core: Tensor, start: int = 0) -> None:
        """Raise AdapterError unless `core` is (k, k) or (B, k, k) with start + k within the basis held."""
        held = self.rank - start
        if core.ndim not in (2, 3) or core.shape[-1] != core.shape[-2] or core.shape[-1] > held:
            raise AdapterError(
                f"a core of shape {tuple(core.shape)} is not (k, k) or (B, k, k) with k <= {held}"
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map x (..., n) to (..., m); with a core (B, k, k), x is (B, ..., n).

        Raises AdapterError if x and the core differ in batch size.
        """
        if self.mixed is not None:
            return self.mixed(x)
        core = self.core
        if core is not None and can_step(x, core, self.weight, self.bias):
            return step(x, core, self.weight, self.bias, *self.basis(len(core)), self.step_form)
        if core is not None and merges(x, core, self.weight):
            return nn.functional.linear(x, self.merge(core), self.bias)
        y: Tensor = self.linear(x)
        if core is None:
            return y
        k = core.shape[-1]
        ut, vh = self.basis(k)
        inner = x @ vh.mT  # (..., k)
        core = core.to(inner.dtype)
        if core.ndim == 2:
            turned = inner @ core.mT
        elif x.shape[0] != core.shape[0]:
            raise AdapterError(f"{core.shape[0]} cores, one a row, for a batch of {x.shape[0]} rows")
        else:
            rows = inner.reshape(core.shape[0], -1, k)  # (B, T, k)
            turned = torch.bmm(rows, core.mT).reshape(inner.shape)
        return y + turned @ ut

    def basis(self, k: int) -> tuple[Tensor, Tensor]:
        """Return U_k^T (k, m) and V_k^T (k, n) of the k directions from `start` on, as views."""
        chosen = slice(self.start, self.start + k)
        return self.ut[chosen], self.vh[chosen]

    def merged_weight(self) -> Tensor:
        """Return W' = W + U_k D V_k^T as a new tensor (m, n); the frozen weight is untouched.

        Raises AdapterError if each row has its own core.
        """
        if self.core is None:
            return self.linear.weight.detach().clone()
        if self.core.ndim != 2:
            raise AdapterError("one weight cannot hold a core per row")
        return self.merge(self.core)

    def merge(self, core: Tensor) -> Tensor:
        """Return W' (m, n) of a core (k, k), or (S, m, n) of cores (S, k, k), built from the frozen W."""
        core, weight = core.to(self.ut.dtype), self.linear.weight.detach()
        ut, vh = self.basis(core.shape[-1])
        if core.ndim == 2:
            return merged_weight(weight, core, ut.mT, vh)
        u = ut.mT
        left, right = (u, core @ vh) if self.in_features <= self.out_features else (u @ core, vh)
        stack = len(core), -1, -1
        left, right = (side if side.ndim == 3 else side.expand(stack) for side in (left, right))
        return torch.baddbmm(weight.expand(stack), left, right)


def _whole_lanes(basis: Tensor) -> Tensor:
    """Return the basis (r, n) with zero rows added at its end, up to in_lanes(r)."""
    more = in_lanes(len(basis), basis.device) - len(basis)
    return torch.cat([basis, basis.new_zeros(more, basis.shape[1])]) if more else basis
