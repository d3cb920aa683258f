"""Training step through one adapted layer, in two exact forms; `step_cost` chooses between them.

    shared   y = W x + b + U_k (D (V_k^T x))
    merged   y = W' x + b with W' = W + U_k D V_k^T, built for the pass and dropped after it

Both give dD = U_k^T (dY^T X) V_k. Only W' and dW' themselves are formed over all n directions. One autograd
function serves both. For the backward pass it keeps nothing as large as W', and of the batch only the part
that dD needs. Weight and basis get no gradient. `merges` chooses for passes without gradients.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ssvd_asr.layer.product_cost import DeviceSpeed, device_speed
from ssvd_asr.layer.step_cost import StepChoice, StepForm, StepWork, choose_step, merging_pays


def can_step(x: Tensor, core: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Return whether this pass trains one core (k, k) of a layer, and nothing else in the layer."""
    return (
        core.ndim == 2
        and torch.is_grad_enabled()
        and core.requires_grad
        and x.is_floating_point()
        and not weight.requires_grad
        and (bias is None or not bias.requires_grad)
    )


def step(
    x: Tensor,
    core: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    ut: Tensor,
    vh: Tensor,
    form: StepForm | Literal["auto"] = "auto",
) -> Tensor:
    """Map x (..., n) to (..., m) through a core (k, k), keeping little for the backward pass.

    Takes the frozen weight (m, n), its bias (m,) and the basis U_k^T (k, m), V_k^T (k, n). Under autocast the
    products use its dtype; the core's gradient has the core's dtype.
    """
    way = choose_step(*_sized(x, core, weight), form)
    dtype = _product_dtype(x, weight)
    with torch.autocast(x.device.type, enabled=False):
        y: Tensor = _Step.apply(x.to(dtype), core, weight, bias, ut, vh, way)
    return y


def merges(x: Tensor, core: Tensor, weight: Tensor) -> bool:
    """Return whether x (..., n) passes through a core (k, k) by W': without gradients, if cheaper."""
    return not torch.is_grad_enabled() and core.ndim == 2 and merging_pays(*_sized(x, core, weight))


def _product_dtype(x: Tensor, weight: Tensor) -> torch.dtype:
    """Return the dtype of products, which autocast may set."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype


def _sized(x: Tensor, core: Tensor, weight: Tensor) -> tuple[StepWork, DeviceSpeed]:
    """Return the size of a pass and the speed of its device."""
    kind, dtype, (m, n) = x.device.type, _product_dtype(x, weight), weight.shape
    work = StepWork(m, n, core.shape[-1], max(1, x.numel() // n), x.requires_grad, dtype.itemsize)
    speed = device_speed(kind, dtype.itemsize, torch.get_num_threads() if kind == "cpu" else 1)
    return work, speed


def merged_weight(weight: Tensor, core: Tensor, u: Tensor, vh: Tensor) -> Tensor:
    """Return W + U_k D V_k^T (m, n), a new tensor, from a core (k, k), U (m, k) and V^T (k, n)."""
    m, n = weight.shape
    left, right = (u, core @ vh) if n <= m else (u @ core, vh)
    return torch.addmm(weight, left, right)


class _Step(torch.autograd.Function):
    """x (..., n), core (k, k) -> (..., m)."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, core: Tensor, weight: Tensor, bias: Tensor | None, ut: Tensor, vh: Tensor,
        way: StepChoice,
    ) -> Tensor:  # fmt: skip
        dtype = x.dtype
        rows, inner = x.reshape(-1, x.shape[-1]), core.to(dtype)
        w, u, v = weight.to(dtype), ut.to(dtype), vh.to(dtype)  # copies only under autocast
        offset = None if bias is None else bias.to(dtype)
        kept = rows if way.gradient == "whole" else rows @ v.mT  # (N, n), or X V_k (N, k)
        if way.form == "merged":
            y = torch.nn.functional.linear(rows, merged_weight(w, inner, u.mT, v), offset)
        else:
            y = torch.nn.functional.linear(rows, w, offset)
            y.addmm_(kept @ inner.mT, u)
        ctx.save_for_backward(kept, core, weight, ut, vh)
        ctx.way = way
        return y.view(*x.shape[:-1], y.shape[-1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        kept, core, weight, ut, vh = ctx.saved_tensors
        dtype, form = kept.dtype, ctx.way.form
        w, u, v, inner = weight.to(dtype), ut.to(dtype), vh.to(dtype), core.to(dtype)
        dy = gradient.reshape(-1, gradient.shape[-1])  # (N, m)
        if ctx.way.gradient == "whole":
            turned, change = None, dy.mT @ kept  # dW' (m, n)
            small = u @ (change @ v.mT) if w.shape[1] > w.shape[0] else (u @ change) @ v.mT
        else:
            turned = dy @ u.mT  # dY U_k (N, k)
            small = turned.mT @ kept
        dx = None
        if ctx.needs_input_grad[0]:
            if form == "merged":
                dx = dy @ merged_weight(w, inner, u.mT, v)
            else:
                assert turned is not None
                dx = (dy @ w).addmm_(turned @ inner, v)
            dx = dx.view(*gradient.shape[:-1], dx.shape[-1])
        return dx, small.to(core.dtype), None, None, None, None, None
