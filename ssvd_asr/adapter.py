"""One domain: the trained numbers of SSVD for a set of layers, and the cores made of them.

Layers of equal k are held stacked, (L, ...), so that all their cores come out of a few batched operations;
for the optimiser this is the same as one tensor a layer.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from ssvd_asr.errors import AdapterError
from ssvd_asr.factors import LayerFactors
from ssvd_asr.maps import DEFAULT_MAP, MAPS, RotationMap, rotation_key, rotation_shape
from ssvd_asr.rotation import core, rotation_delta

DEFAULT_P = 0.4  # share of min(m, n) that turns; the paper's smallest budget on OWSM-0.1B

logger = logging.getLogger(__name__)


class Adapter(nn.Module):
    """Skew (or G - I) and delta-sigma per layer; an untrained one is exactly the base model."""

    def __init__(
        self, rotation_map: RotationMap, sigmas: Mapping[str, Tensor], *, p: float | None = None
    ) -> None:
        """Start at zero for layers whose k largest singular values are `sigmas[name]` (k,).

        Raises AdapterError for an unknown map or no layers.
        """
        super().__init__()
        if rotation_map not in MAPS:
            raise AdapterError(f"rotation map {rotation_map!r} is not one of {', '.join(MAPS)}")
        if not sigmas:
            raise AdapterError("an adapter needs at least one layer")
        self.rotation_map: RotationMap = rotation_map
        self.p = p
        self.limited: dict[str, tuple[int, int]] = {}  # layer: (k asked for, k its spectrum allows)
        self.ks: dict[str, int] = {name: int(sigma.shape[0]) for name, sigma in sigmas.items()}
        self._groups: dict[str, list[str]] = {}  # str(k): layers in order
        for name, k in self.ks.items():
            self._groups.setdefault(str(k), []).append(name)
        self.rotation = nn.ParameterDict()  # (L, k (k - 1) / 2); free: (L, k, k)
        self.delta_sigma = nn.ParameterDict()  # (L, k)
        self._sigma = nn.Module()  # buffers (L, k) in float64
        for key, names in self._groups.items():
            shape = (len(names), *rotation_shape(rotation_map, int(key)))
            self.rotation[key] = nn.Parameter(torch.zeros(shape))
            self.delta_sigma[key] = nn.Parameter(torch.zeros(len(names), int(key)))
            stacked = torch.stack([sigmas[name].to(torch.float64) for name in names])
            self._sigma.register_buffer(f"k{key}", stacked, persistent=False)

    @classmethod
    def new(
        cls,
        factors: Mapping[str, LayerFactors],
        *,
        p: float | None = None,
        k: int | None = None,
        rotation_map: RotationMap = DEFAULT_MAP,
        layers: Iterable[str] | None = None,
        overrides: Mapping[str, int | float] | None = None,
    ) -> Adapter:
        """Build an untrained adapter.

        Args:
            factors: of the base's layers.
            p: share of each layer's min(m, n); k = int(p * min(m, n)). Default 0.4. Not with `k`.
            k: the same k for every layer.
            layers: names to adapt; default all of `factors`.
            overrides: end of a layer's name -> its own k (int) or p (float); the last that matches counts.

        A layer whose spectrum does not determine k directions gets fewer, or is left out at 0; `limited` and
        a warning in the log name it.

        Raises AdapterError for p, k, layers or overrides that fit no layer.
        """
        if p is not None and k is not None:
            raise AdapterError(f"p={p} and k={k} exclude each other")
        default: int | float = k if k is not None else (DEFAULT_P if p is None else p)
        names = list(factors) if layers is None else list(layers)
        unused = set(overrides or {})
        sigmas: dict[str, Tensor] = {}
        limited: dict[str, tuple[int, int]] = {}
        for name in names:
            if name not in factors:
                raise AdapterError(f"layer {name!r} has no factors")
            size = default
            for pattern, own in (overrides or {}).items():
                if name.endswith(pattern):
                    size = own
                    unused.discard(pattern)
            factor = factors[name]
            wanted = layer_k(size, factor.rank, name)
            allowed = min(wanted, factor.cut)
            if allowed < wanted:
                limited[name] = (wanted, allowed)
                logger.warning(
                    "%s: k=%d lowered to %d, its spectrum is degenerate there", name, wanted, allowed
                )
            if allowed:
                sigmas[name] = factor.s[:allowed]
        if unused:
            raise AdapterError(f"override {sorted(unused)[0]!r} matches no layer")
        adapter = cls(rotation_map, sigmas, p=None if isinstance(default, int) else default)
        adapter.limited = limited
        return adapter

    def cores(self, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
        """Return D (k, k) per layer, differentiable; computed in float32 or better, then cast to `dtype`."""
        cores: dict[str, Tensor] = {}
        for key, names in self._groups.items():
            delta = rotation_delta(self.rotation_map, self.rotation[key])
            stacked = core(self.sigma(int(key)), delta, self.delta_sigma[key])  # (L, k, k)
            if dtype is not None:
                stacked = stacked.to(dtype)
            cores.update(zip(names, stacked.unbind(), strict=True))
        return cores

    def sigma(self, k: int) -> Tensor:
        """Return the singular values (L, k), float64, of the layers of this k, in the order of `ks`."""
        return self._sigma.get_buffer(f"k{k}")

    @property
    def sigmas(self) -> dict[str, Tensor]:
        """The k largest singular values (k,) of each layer, float64."""
        return {
            name: self.sigma(int(key))[row]
            for key, names in self._groups.items()
            for row, name in enumerate(names)
        }

    def parameter_count(self) -> int:
        """Return how many numbers are trained."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def state(self) -> dict[str, Tensor]:
        """Trained tensors, detached, by file key: `<layer>.skew` (or `.g_minus_i`), `<layer>.delta_sigma`."""
        rotation = rotation_key(self.rotation_map)
        state: dict[str, Tensor] = {}
        for key, names in self._groups.items():
            for row, name in enumerate(names):
                state[f"{name}.{rotation}"] = self.rotation[key].detach()[row]
                state[f"{name}.delta_sigma"] = self.delta_sigma[key].detach()[row]
        return state

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Copy trained tensors in, cast to this adapter's dtype.

        Raises AdapterError unless keys and shapes are exactly those of `state`; nothing is changed then.
        """
        own = self.state
        if state.keys() != own.keys():
            odd = sorted(state.keys() ^ own.keys())
            raise AdapterError(f"{len(odd)} tensors are missing or not of this adapter, first {odd[0]!r}")
        for name, tensor in own.items():
            if state[name].shape != tensor.shape:
                raise AdapterError(
                    f"{name}: shape {tuple(state[name].shape)}, expected {tuple(tensor.shape)}"
                )
        for name, tensor in own.items():
            tensor.copy_(state[name])


def layer_k(size: int | float, rank: int, layer: str) -> int:
    """Return k of a layer with r = min(m, n) = `rank` from a k (int) or a p (float): int(p * r).

    Raises AdapterError where 1 <= k <= r does not hold.
    """
    k = size if isinstance(size, int) else int(size * rank) if 0.0 < size <= 1.0 else 0
    if not 1 <= k <= rank:
        kind = "k" if isinstance(size, int) else "p"
        raise AdapterError(f"{layer}: {kind}={size} gives no k within 1..{rank} = min(out, in)")
    return k
