"""One domain's trained numbers for a set of layers, and the cores made of them.

Layers of equal k and start are stacked, (L, ...), so that a few batched operations make all their cores.
For the optimiser this is the same as one tensor per layer.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Self

import torch
from torch import Tensor, nn

from ssvd_asr.adapter.cores import stacked_cores
from ssvd_asr.adapter.forms import DEFAULT_MAP, CoreForm, CoreMap, Directions, Part, as_form
from ssvd_asr.adapter.sparsity import fixed_positions, top_positions
from ssvd_asr.basis.factors import LayerFactors
from ssvd_asr.errors import AdapterError

DEFAULT_P = 0.4  # share of the min(m, n) directions that changes; the paper's smallest budget on OWSM-0.1B

logger = logging.getLogger(__name__)


class Adapter(nn.Module):
    """The tensors that a form trains for a set of layers. An untrained adapter is exactly the base model."""

    def __init__(
        self,
        form: CoreForm | CoreMap,
        sigmas: Mapping[str, Tensor],
        *,
        p: float | None = None,
        starts: Mapping[str, int] | None = None,
        positions: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Create an untrained adapter: every trained tensor is zero.

        Args:
            form: a form, or a map with the form's defaults.
            sigmas: the singular values (k,) of the directions that change, by layer name.
            p: the share that k was made from, for the file; None where k was given.
            starts: the first direction that changes, by layer name; default 0 everywhere.
            positions: flat positions of the entries of SVFT's top-k, int32 (entries,) by layer name.

        Raises AdapterError for an unknown map, no layers, or positions that are missing.
        """
        super().__init__()
        self.form = as_form(form)
        if not sigmas:
            raise AdapterError("an adapter needs at least one layer")
        self.p = p
        self.limited: dict[str, tuple[int, int]] = {}  # layer: (k asked for, k its spectrum allows)
        self.ks: dict[str, int] = {name: int(sigma.shape[0]) for name, sigma in sigmas.items()}
        self.starts: dict[str, int] = {name: (starts or {}).get(name, 0) for name in sigmas}
        self._groups: dict[str, list[str]] = {}  # "k" or "k_start": layer names in order
        for name, k in self.ks.items():
            start = self.starts[name]
            self._groups.setdefault(f"{k}_{start}" if start else str(k), []).append(name)
        self._fixed = nn.Module()  # sigma (L, k) in float64, positions (L, entries)
        for part in self.form.shapes(1):
            self.add_module(part, nn.ParameterDict())
        for key, names in self._groups.items():
            for part, shape in self.form.shapes(self.ks[names[0]]).items():
                self._part(part)[key] = nn.Parameter(torch.zeros(len(names), *shape))
            stacked = torch.stack([sigmas[name].to(torch.float64) for name in names])
            self._fixed.register_buffer(f"sigma{key}", stacked, persistent=False)
            if self.form.method == "svft":
                where = torch.stack([self._positions(name, positions) for name in names])
                self._fixed.register_buffer(f"positions{key}", where, persistent=False)

    @classmethod
    def new(
        cls,
        factors: Mapping[str, LayerFactors],
        *,
        p: float | None = None,
        k: int | None = None,
        rotation_map: CoreForm | CoreMap = DEFAULT_MAP,
        layers: Iterable[str] | None = None,
        overrides: Mapping[str, int | float] | None = None,
        directions: Directions = "head",
    ) -> Self:
        """Build an untrained adapter.

        Args:
            factors: the factors of the base's layers, by name.
            p: share of each layer's min(m, n): k = int(p * min(m, n)). Default 0.4, or 1.0 for SVFT.
                Excludes `k`.
            k: the same k for every layer.
            rotation_map: a map, or a whole form.
            layers: names of the layers to adapt; default all of `factors`.
            overrides: k (int) or p (float) by the end of a layer's name; the last match counts.
            directions: `tail` takes the last k directions that the spectrum determines. Padded, their core
                costs as much as one of all directions up to them (see `cores`).

        A layer whose spectrum does not determine k directions gets fewer, or none. `limited` and a warning
        in the log name such layers.

        Raises AdapterError for p, k, layers or overrides that fit no layer.
        """
        form = as_form(rotation_map)
        if p is not None and k is not None:
            raise AdapterError(f"p={p} and k={k} exclude each other")
        usual = 1.0 if form.method == "svft" else DEFAULT_P
        default: int | float = k if k is not None else (usual if p is None else p)
        unused = set(overrides or {})
        ks: dict[str, int] = {}
        limited: dict[str, tuple[int, int]] = {}
        for name in factors if layers is None else layers:
            if name not in factors:
                raise AdapterError(f"layer {name!r} has no factors")
            size = default
            for pattern, own in (overrides or {}).items():
                if name.endswith(pattern):
                    size = own
                    unused.discard(pattern)
            wanted = layer_k(size, factors[name].rank, name)
            ks[name] = min(wanted, factors[name].cut)
            if ks[name] < wanted:
                limited[name] = (wanted, ks[name])
                logger.warning(
                    "%s: k=%d lowered to %d, its spectrum is degenerate there", name, wanted, ks[name]
                )
        if unused:
            raise AdapterError(f"override {sorted(unused)[0]!r} matches no layer")
        share = None if isinstance(default, int) else default
        adapter = cls.of_ks(factors, ks, form, p=share, directions=directions)
        adapter.limited = limited
        return adapter

    @classmethod
    def of_ks(
        cls,
        factors: Mapping[str, LayerFactors],
        ks: Mapping[str, int],
        form: CoreForm | CoreMap,
        *,
        p: float | None = None,
        directions: Directions = "head",
    ) -> Self:
        """Build an untrained adapter from k by layer name, leaving out layers with k = 0.

        Each k must be at most the layer's `cut`.
        """
        form = as_form(form)
        ks = {name: k for name, k in ks.items() if k}
        starts = {name: factors[name].cut - k if directions == "tail" else 0 for name, k in ks.items()}
        sigmas = {name: factors[name].s[starts[name] : starts[name] + k] for name, k in ks.items()}
        positions = None
        if form.map == "svft-top-k":
            positions = {name: top_positions(factors[name], k, form.off_diagonals) for name, k in ks.items()}
        return cls(form, sigmas, p=p, starts=starts, positions=positions)

    def cores(self, dtype: torch.dtype | None = None, *, padded: bool = True) -> dict[str, Tensor]:
        """Return D (start + k, start + k) by layer name, differentiable and zero before `start`.

        Cores are computed in float32 or better, then cast to `dtype`. With `padded=False` they are (k, k),
        for use together with `starts`.
        """
        cores: dict[str, Tensor] = {}
        for key, names in self._groups.items():
            stacked = stacked_cores(
                self.form,
                {part: self._part(part)[key] for part in self.form.shapes(1)},
                self._fixed.get_buffer(f"sigma{key}"),
                positions=self._fixed._buffers.get(f"positions{key}"),
                start=self.starts[names[0]] if padded else 0,
            )
            if dtype is not None:
                stacked = stacked.to(dtype)
            cores.update(zip(names, stacked.unbind(), strict=True))
        return cores

    @property
    def rotation_map(self) -> CoreMap:
        """The form's map."""
        return self.form.map

    @property
    def spans(self) -> dict[str, int]:
        """The number of directions that each layer must hold for this adapter: start + k."""
        return {name: self.starts[name] + k for name, k in self.ks.items()}

    @property
    def directions(self) -> dict[str, tuple[int, int]]:
        """The first direction that changes, and how many do (start, k), by layer name."""
        return {name: (self.starts[name], k) for name, k in self.ks.items()}

    @property
    def sigmas(self) -> dict[str, Tensor]:
        """The singular values (k,) of each layer's changed directions, float64."""
        return self._by_layer("sigma")

    @property
    def positions(self) -> dict[str, Tensor]:
        """Flat positions of SVFT's entries, int32 (entries,) by layer name; empty for other forms."""
        return self._by_layer("positions") if self.form.method == "svft" else {}

    def parameter_count(self) -> int:
        """Return how many numbers are trained."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def state(self) -> dict[str, Tensor]:
        """Trained tensors, detached, by their key in a file: the layer's name, a dot and `CoreForm.key`."""
        return {
            f"{name}.{self.form.key(part)}": self._part(part)[key].detach()[row]
            for key, names in self._groups.items()
            for row, name in enumerate(names)
            for part in self.form.shapes(1)
        }

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Copy trained tensors in, cast to this adapter's dtype.

        Raises AdapterError, and changes nothing, unless keys and shapes are exactly those of the adapter.
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

    def _part(self, part: Part) -> nn.ParameterDict:
        held = self.get_submodule(part)
        assert isinstance(held, nn.ParameterDict)
        return held

    def _by_layer(self, what: str) -> dict[str, Tensor]:
        rows = {key: self._fixed.get_buffer(f"{what}{key}") for key in self._groups}
        return {
            name: row
            for key, names in self._groups.items()
            for name, row in zip(names, rows[key], strict=True)
        }

    def _positions(self, name: str, given: Mapping[str, Tensor] | None) -> Tensor:
        if self.form.map == "svft-top-k":
            if given is None or name not in given:
                raise AdapterError(f"layer {name!r}: map 'svft-top-k' needs its positions")
            return given[name]
        return fixed_positions(self.form, name, self.ks[name])


def layer_k(size: int | float, rank: int, layer: str) -> int:
    """Return k of a layer with min(m, n) = `rank`: an int `size` itself, or int(size * rank) for a float.

    Raises AdapterError unless 1 <= k <= rank.
    """
    k = size if isinstance(size, int) else int(size * rank) if 0.0 < size <= 1.0 else 0
    if not 1 <= k <= rank:
        kind = "k" if isinstance(size, int) else "p"
        raise AdapterError(f"{layer}: {kind}={size} gives no k within 1..{rank} = min(out, in)")
    return k
