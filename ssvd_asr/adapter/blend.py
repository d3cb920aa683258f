"""Blend of adapters: the trained numbers of several domains, each times a weight, added to those of one.

Domains of one base share a basis, so the sum is an adapter of the same form and the same size. Its cores are
made from the summed numbers; they are not sums of the parts' cores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from ssvd_asr.errors import BlendFormError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ssvd_asr.adapter.adapter import Adapter
    from ssvd_asr.adapter.forms import CoreForm


class Shaped(Protocol):
    """What decides whether the numbers of two adapters mean the same."""

    @property
    def form(self) -> CoreForm:
        """Method, map, sides, and whether the singular values change."""
        ...

    @property
    def directions(self) -> Mapping[str, tuple[int, int]]:
        """The first direction that changes, and how many do (start, k), by layer name."""
        ...

    @property
    def positions(self) -> Mapping[str, Tensor]:
        """Flat positions of SVFT's entries, (entries,) by layer name; empty for other forms."""
        ...


def check_alike(parts: Sequence[Shaped], names: Sequence[str]) -> None:
    """Raise BlendFormError, naming the difference, unless all parts are of one form, layers and directions.

    Args:
        names: what the message calls each part.
    """
    first, first_name = parts[0], names[0]
    for part, name in zip(parts[1:], names[1:], strict=True):
        both = f"{first_name} and {name} cannot be blended:"
        if part.form != first.form:
            raise BlendFormError(f"{both} one is {_told(first.form)}, the other {_told(part.form)}")
        odd = sorted(part.directions.keys() ^ first.directions.keys())
        if odd:
            raise BlendFormError(f"{both} layer {odd[0]!r} is in one of them only")
        for layer, (start, k) in first.directions.items():
            if part.directions[layer] != (start, k):
                other_start, other_k = part.directions[layer]
                raise BlendFormError(
                    f"{both} in layer {layer!r} one changes {k} directions from {start} on, the other "
                    f"{other_k} from {other_start} on"
                )
        for layer, places in first.positions.items():
            if not places.equal(part.positions[layer]):
                raise BlendFormError(f"{both} in layer {layer!r} their entries are in other places")


def weighted_sum(tensors: Sequence[Tensor], weights: Sequence[float], dtype: torch.dtype) -> Tensor:
    """Return the sum of the tensors, each times its weight, added in float64 in this order, as `dtype`.

    Raises BlendFormError where a number is not finite in `dtype`.
    """
    import torch

    total = torch.zeros_like(tensors[0], dtype=torch.float64)
    for tensor, weight in zip(tensors, weights, strict=True):
        total += weight * tensor.double()
    rounded = total.to(dtype)
    if not bool(torch.isfinite(rounded).all()):
        raise BlendFormError(f"the blend has a number that is not finite in {dtype}")
    return rounded


def blend_adapters(
    adapters: Sequence[Adapter], weights: Sequence[float], names: Sequence[str], dtype: torch.dtype
) -> Adapter:
    """Return the blend of adapters as a new adapter, its numbers rounded to `dtype`, as its file will be.

    The order of the parts may change the last bit: sort them first (`ssvd_asr.adapter.blend_parts`).

    Raises BlendFormError if the parts are not of one form, or a number is not finite in `dtype`.
    """
    from ssvd_asr.adapter.adapter import Adapter

    check_alike(adapters, names)
    first = adapters[0]
    shares = {adapter.p for adapter in adapters}
    blended = Adapter(
        first.form,
        first.sigmas,
        p=shares.pop() if len(shares) == 1 else None,
        starts=first.starts,
        positions=first.positions or None,
    )
    states = [adapter.state for adapter in adapters]
    blended.load_state(
        {key: weighted_sum([state[key] for state in states], weights, dtype) for key in states[0]}
    )
    return blended


def _told(form: CoreForm) -> str:
    """Return a form in words."""
    words: list[str] = [form.map]
    if form.outer:
        words.append("with an outer rotation")
    if not form.delta_sigma:
        words.append("without delta_sigma")
    if form.off_diagonals:
        words.append(f"with {form.off_diagonals} off-diagonals")
    return " ".join(words)
