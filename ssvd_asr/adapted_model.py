"""Put the adaptable linears into a model, choose a domain for a stretch of code, and take them out again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from torch import Tensor, nn

from ssvd_asr.errors import AdapterError
from ssvd_asr.factors import LayerFactors
from ssvd_asr.layers import DEFAULT_PATTERNS, match_layers
from ssvd_asr.linear import AdaptedLinear


class AdaptedModel:
    """A frozen model whose linears can take cores. Made by `adapt`.

    Not for several threads: cores stand on the layers while `using` is open, so one thread owns the model.
    """

    def __init__(self, model: nn.Module, layers: Mapping[str, AdaptedLinear]) -> None:
        self.model = model
        self.layers: dict[str, AdaptedLinear] = dict(layers)
        self._was_trainable = [p for p in model.parameters() if p.requires_grad]
        self._in_use = False
        model.requires_grad_(False)  # else the whole base trains beside the adapter

    @contextmanager
    def using(self, cores: Mapping[str, Tensor] | None) -> Iterator[nn.Module]:
        """Run the model with these cores, by layer name: (k, k), or (B, k, k) with one core per batch row.

        Layers without a core, and None, are exactly the base. Cores are taken off however the block ends.

        Raises AdapterError for a layer the model has not, or a core that does not fit; RuntimeError where a
        `using` block is open already, since the inner one would silently end the outer.
        """
        if self._in_use:
            raise RuntimeError("using() is open already: one set of cores at a time")
        cores = cores or {}
        for name, core in cores.items():
            if name not in self.layers:
                raise AdapterError(f"the model has no adapted layer {name!r}")
            self.layers[name].check_core(core)
        self._in_use = True
        try:
            for name, core in cores.items():
                self.layers[name].core = core
            yield self.model
        finally:
            for layer in self.layers.values():
                layer.core = None
            self._in_use = False

    def restore(self) -> nn.Module:
        """Put the plain linears back (the same objects), and let what was trainable be trainable again."""
        for name, layer in self.layers.items():
            _replace(self.model, name, layer.linear)
        for parameter in self._was_trainable:
            parameter.requires_grad_(True)
        self.layers = {}
        return self.model


def adapt(
    model: nn.Module,
    factors: Mapping[str, LayerFactors],
    patterns: Sequence[str] = DEFAULT_PATTERNS,
    *,
    rank: int | None = None,
) -> AdaptedModel:
    """Replace the model's matching linears in place by `AdaptedLinear`, and freeze the whole model.

    Args:
        model: any module; its device and dtype are those of the basis held.
        factors: by layer name, for every matching layer.
        patterns: ends of the layer names.
        rank: hold only the first `rank` singular directions; serving needs no more than its largest k.

    Raises AdapterError where a matching layer has no factors, or they do not fit; the model is untouched.
    """
    linears = match_layers(model, patterns)
    missing = [name for name in linears if name not in factors]
    if missing:
        raise AdapterError(f"{len(missing)} of {len(linears)} layers have no factors, first {missing[0]!r}")
    layers = {name: AdaptedLinear(linear, factors[name], rank) for name, linear in linears.items()}
    for name, layer in layers.items():
        _replace(model, name, layer)
    return AdaptedModel(model, layers)


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)
