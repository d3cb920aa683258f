"""Cores of layers of one size, made from the trained numbers of any form."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import pad

from ssvd_asr.adapter.forms import CoreForm, Part
from ssvd_asr.adapter.rotation import at_least_float32, core, outer_core, rotation_delta


def stacked_cores(
    form: CoreForm,
    parts: Mapping[Part, Tensor],
    sigma: Tensor,
    *,
    positions: Tensor | None = None,
    start: int = 0,
) -> Tensor:
    """Return D of L layers, (L, start + k, start + k), in float32 or better, differentiable.

    Args:
        parts: trained tensors, each (L, ...) of the shapes that `form.shapes(k)` gives.
        sigma: singular values (L, k) of the directions that change.
        positions: SVFT's entries, (entries,) for all layers or (L, entries).
        start: the first direction that changes; D is zero before it. So a core of tail directions is applied
            as one of the first start + k directions, and costs as much.
    """
    if form.map == "lora-xs":
        mixing = at_least_float32(parts["rotation"])
        made = sigma.to(mixing.dtype).unsqueeze(-1) * mixing
    elif not form.is_ssvd:
        assert positions is not None
        made = _sparse(at_least_float32(parts["values"]), positions, sigma.shape[-1])
    else:
        kind = form.map
        made = core(sigma, rotation_delta(kind, parts["rotation"]), parts.get("delta_sigma"))
        if form.outer:
            made = outer_core(sigma, made, rotation_delta(kind, parts["outer"]))
    return pad(made, (start, 0, start, 0)) if start else made


def _sparse(values: Tensor, positions: Tensor, k: int) -> Tensor:
    """Return (L, k, k) with the values (L, entries) at flat positions and zero elsewhere."""
    where = positions.to(device=values.device, dtype=torch.int64).expand_as(values)
    return values.new_zeros(len(values), k * k).scatter(-1, where, values).view(-1, k, k)
