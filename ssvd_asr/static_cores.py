"""The cores of a batch in tensors that stay where they are, so that a recorded step can read them again.

A step that is recorded once and replayed for other batches (ssvd_asr.decoding.step_graph) can follow no plan
made for the rows of one batch. Here every adapted layer has one way for all rows:

    each    one product a row's own core: as many cores as utterances
    every   one product of all rows by every core; each row then picks its own. Cheap where domains are few
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from ssvd_asr.core_stack import CoreStack
from ssvd_asr.linear import AdaptedLinear
from ssvd_asr.tall_linear import tall_linear

EVERY_SHARE = 1 / 2  # of the utterances: for more domains than that, a core for each

Way = Literal["each", "every"]


@dataclass(frozen=True)
class CoresKey:
    """What a recorded step depends on, beside the numbers in the tensors."""

    layers: tuple[tuple[str, int], ...]  # adapted layers and the k of their cores
    held: int  # cores in each tensor
    way: Way


class StaticCores:
    """Tensors of cores by layer, shared by all batches; they move only when more cores must be held."""

    def __init__(self) -> None:
        self.generation = 0  # rises when a tensor moved: what was recorded before is void
        self._held: dict[tuple[str, int], Tensor] = {}  # by layer and k: (cores, k, k)
        self._picks: dict[int, Tensor] = {}  # by rows: (rows,) which core each row has, int64

    def key(self, stack: CoreStack, names: Sequence[str], slots: Sequence[int]) -> CoresKey:
        """How utterances of these slots are treated; `names` are the layers for which one has a core."""
        sizes = stack.k
        domains = len(set(slots))
        layers = tuple((name, sizes[name]) for name in names)
        if domains > EVERY_SHARE * len(slots) and len(slots) > 1:
            return CoresKey(layers, len(slots), "each")
        return CoresKey(layers, _power_of_two(domains), "every")

    def fill(self, key: CoresKey, stack: CoreStack, slots: Sequence[int], rows: int) -> None:
        """Write the cores of these slots, one an utterance; each utterance has rows / utterances rows."""
        wanted = list(slots) if key.way == "each" else list(dict.fromkeys(slots))
        device = next(iter(stack.parts.values()))[0].device
        chosen = torch.tensor(wanted, device=device)
        for name, k in key.layers:
            held = self._tensor(name, k, key.held, stack.parts[name][0])
            torch.index_select(stack.parts[name][0], 0, chosen, out=held[: len(wanted)])
        if key.way == "every":
            places = {slot: place for place, slot in enumerate(wanted)}
            each = rows // len(slots)
            picks = [places[slot] for slot in slots for _ in range(each)]
            self.pick(rows, device).copy_(torch.tensor(picks))

    def pick(self, rows: int, device: torch.device) -> Tensor:
        """Which core each of so many rows has (rows,), int64."""
        found = self._picks.get(rows)
        if found is None:
            found = self._picks[rows] = torch.zeros(rows, dtype=torch.long, device=device)
        return found

    @contextmanager
    def mounted(
        self, layers: Mapping[str, AdaptedLinear], key: CoresKey, utterances: int, rows: int
    ) -> Iterator[None]:
        """Have the layers of `key` read these tensors, for batches of so many rows."""
        before = {name: layers[name].mixed for name, _ in key.layers}
        try:
            for name, k in key.layers:
                cores = self._held[name, k][: key.held]
                pick = self.pick(rows, cores.device)
                layers[name].mixed = StaticLayer(layers[name], cores, key.way, utterances, pick)
            yield
        finally:
            for name, mixed in before.items():
                layers[name].mixed = mixed

    def _tensor(self, name: str, k: int, count: int, like: Tensor) -> Tensor:
        held = self._held.get((name, k))
        if held is None or len(held) < count:
            for size in [size for layer, size in self._held if layer == name]:
                del self._held[name, size]
            held = self._held[name, k] = like.new_zeros(count, k, k)
            self.generation += 1
        return held


class StaticLayer:
    """What stands on an `AdaptedLinear` meanwhile: x (rows, ..., n) to (rows, ..., m)."""

    def __init__(self, layer: AdaptedLinear, cores: Tensor, way: Way, utterances: int, pick: Tensor) -> None:
        self._weight, self._bias = layer.linear.weight, layer.linear.bias
        self._cores, self._way, self._utterances, self._pick = cores.mT, way, utterances, pick
        k = cores.shape[-1]
        self._vh, self._ut = layer.vh[:k], layer.ut[:k]  # (k, n), (k, m)

    def __call__(self, x: Tensor) -> Tensor:
        heard = x.reshape(-1, x.shape[-1])  # (rows T, n)
        y = tall_linear(heard, self._weight, self._bias)
        inner = functional.linear(heard, self._vh)  # (rows T, k)
        y.addmm_(self._turned(inner, len(x)), self._ut)
        return y.view(*x.shape[:-1], -1)

    def _turned(self, inner: Tensor, rows: int) -> Tensor:
        """D of each row times (rows T, k)."""
        if self._way == "each":
            return torch.bmm(inner.view(self._utterances, -1, inner.shape[-1]), self._cores).view_as(inner)
        if len(self._cores) == 1:
            return inner @ self._cores[0]
        turned = torch.matmul(inner, self._cores)  # (cores, rows T, k)
        by_row = turned.view(len(self._cores), rows, -1)
        chosen = by_row[self._pick, torch.arange(rows, device=inner.device)]  # (rows, T k)
        return chosen.view_as(inner)


def _power_of_two(count: int) -> int:
    return 1 << (count - 1).bit_length()
