"""Adapted model: a model with adaptable linears in it, which runs with the cores of one or more domains."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from ssvd_asr.basis.factors import LayerFactors
from ssvd_asr.basis.layers import match_layers, named_linears
from ssvd_asr.errors import AdapterError
from ssvd_asr.layer.linear import AdaptedLinear
from ssvd_asr.layer.step_cost import StepForm
from ssvd_asr.mixing.core_stack import BASE_SLOT, CoreStack
from ssvd_asr.mixing.cost import Form
from ssvd_asr.mixing.mixture import MixedLayer, Mixture


class AdaptedModel:
    """A frozen model whose linears can take cores. Made by `adapt`.

    Not thread-safe: the layers hold the cores while `using` or `mixing` is open, so one thread must own the
    model.
    """

    def __init__(self, model: nn.Module, layers: Mapping[str, AdaptedLinear]) -> None:
        self.model = model
        self.layers: dict[str, AdaptedLinear] = dict(layers)
        self._was_trainable = [p for p in model.parameters() if p.requires_grad]
        self._in_use = False
        model.requires_grad_(False)  # otherwise the whole base would train too

    @contextmanager
    def using(
        self,
        cores: Mapping[str, Tensor] | None,
        step_form: StepForm | Literal["auto"] = "auto",
        *,
        starts: Mapping[str, int] | None = None,
    ) -> Iterator[nn.Module]:
        """Run the model with these cores, by layer name: (k, k), or (B, k, k) with one core per batch row.

        Cores may be on any device; those of a trained adapter are read to the CPU, wherever the model is.
        A core changes the k directions from `starts[name]` on (default 0): `Adapter.cores(padded=False)`.
        Layers without a core are exactly the base, and None leaves all without. The cores are removed
        however the block ends. `step_form` chooses one of two exact forms for training cores (k, k); `auto`
        takes the cheaper for each layer and batch (ssvd_asr.layer.step_cost).

        Raises AdapterError for an unknown layer or a core that does not fit; RuntimeError where a `using` or
        `mixing` block is open already, because the inner block would end the outer one.
        """
        if self._in_use:
            raise RuntimeError("using() or mixing() is open already: one set of cores at a time")
        cores, starts = cores or {}, starts or {}
        for name, core in cores.items():
            if name not in self.layers:
                raise AdapterError(f"the model has no adapted layer {name!r}")
            self.layers[name].check_core(core, starts.get(name, 0))
        self._in_use = True
        try:
            for name, core in cores.items():
                layer = self.layers[name]
                layer.core, layer.start = core.to(layer.weight.device), starts.get(name, 0)
                layer.step_form = step_form
            yield self.model
        finally:
            for layer in self.layers.values():
                layer.core, layer.start = None, 0
            self._in_use = False

    @contextmanager
    def mixing(
        self, stack: CoreStack, rows: Sequence[int], form: Form | Literal["auto"] = "auto"
    ) -> Iterator[Mixture]:
        """Run the model, without gradients, on batches whose rows are given by the slots of their domains.

        All forms are exact; `auto` takes the cheapest (mixing/cost.py). Rows of slot 0 are the base. A layer
        for which no row has a core runs as the plain layer. Rows sorted by slot save a copy. The slots cannot
        be written while the block is open.

        Raises AdapterError for an unknown slot, layer or form; RuntimeError where a block is open already.
        """
        if self._in_use:
            raise RuntimeError("using() or mixing() is open already: one set of cores at a time")
        mixture = Mixture(stack, rows, form)
        with stack.reading(mixture.slots):
            names = stack.touched(mixture.slots)
            if unknown := [name for name in names if name not in self.layers]:
                raise AdapterError(f"the model has no adapted layer {unknown[0]!r}")
            stack.hot.warm(slot for slot in mixture.slots if slot != BASE_SLOT)
            self._in_use = True
            try:
                for name in names:
                    self.layers[name].mixed = MixedLayer(name, self.layers[name], mixture)
                with torch.no_grad():
                    yield mixture
            finally:
                for layer in self.layers.values():
                    layer.mixed = None
                self._in_use = False

    def restore(self) -> nn.Module:
        """Put the plain linears back (the same objects); make parameters trainable that were so before."""
        for name, layer in self.layers.items():
            _replace(self.model, name, layer.linear)
        for parameter in self._was_trainable:
            parameter.requires_grad_(True)
        self.layers = {}
        return self.model


def adapt(
    model: nn.Module,
    factors: Mapping[str, LayerFactors],
    patterns: Sequence[str] | None = None,
    *,
    rank: int | None = None,
    share: float = 1.0,
) -> AdaptedModel:
    """Replace linears of the model in place by `AdaptedLinear`, and freeze the whole model.

    Args:
        model: any module; the basis is held on the device and in the dtype of each weight.
        factors: by the layer's name.
        patterns: ends of the names of the layers to replace; default exactly the layers of `factors`.
        rank: hold only the first `rank` singular directions; serving needs no more than its largest k.
        share: hold only this share of each layer's min(m, n) directions, rounded up.

    Raises AdapterError, and leaves the model unchanged, where a layer is missing or has no factors that fit.
    """
    linears = named_linears(model, factors) if patterns is None else match_layers(model, patterns)
    missing = [name for name in linears if name not in factors]
    if missing:
        raise AdapterError(f"{len(missing)} of {len(linears)} layers have no factors, first {missing[0]!r}")
    held = {name: math.ceil(share * factors[name].rank) for name in linears}
    layers = {
        name: AdaptedLinear(linear, factors[name], held[name] if rank is None else min(rank, held[name]))
        for name, linear in linears.items()
    }
    for name, layer in layers.items():
        if layer.weight.device.type == "cuda":
            layer.join()
        _replace(model, name, layer)
    return AdaptedModel(model, layers)


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)
