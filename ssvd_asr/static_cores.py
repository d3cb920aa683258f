"""The cores of a batch in tensors that stay where they are, so that a recorded step can read them again.

A step that is recorded once and replayed for other batches (ssvd_asr.decoding.step_graph) can follow no plan
made for the rows of one batch. Here the utterances stand in blocks, each of one domain and all of one size,
and an adapted layer multiplies each block by its core.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ssvd_asr.core_stack import CoreStack
from ssvd_asr.linear import AdaptedLinear
from ssvd_asr.tall_linear import tall_linear


@dataclass(frozen=True)
class Arrangement:
    """Utterances in blocks of `block` places; places without an utterance compute what nobody reads."""

    places: tuple[int, ...]  # of each utterance
    slots: tuple[int, ...]  # the domain of each block
    block: int

    @property
    def room(self) -> int:
        """Places in all."""
        return len(self.slots) * self.block


@dataclass(frozen=True)
class CoresKey:
    """What a recorded step depends on, beside the numbers in the tensors."""

    layers: tuple[tuple[str, int], ...]  # adapted layers and the k of their cores
    blocks: int


def arrange(slots: Sequence[int]) -> Arrangement:
    """Put utterances of these slots into blocks so that places and blocks together are fewest.

    A place's keys and values and a block's cores are about equally many numbers to read. Places and blocks
    are rounded up to a few sizes, so that few recordings serve all batches.
    """
    counts = Counter(slots)
    sizes = [1 << power for power in range(max(counts.values()).bit_length() + 1)]
    if len(counts) == 1:
        sizes = [rounded(len(slots))]

    def blocks_of(size: int) -> int:
        return rounded(sum(-(-count // size) for count in counts.values()))

    block = min(sizes, key=lambda size: (blocks_of(size) * (size + 1), -size))
    of_block: list[int] = []
    free: dict[int, list[int]] = {slot: [] for slot in counts}
    places = []
    for slot in slots:
        if not free[slot]:
            first = len(of_block) * block
            free[slot] = list(range(first, first + block))
            of_block.append(slot)
        places.append(free[slot].pop(0))
    of_block += of_block[:1] * (blocks_of(block) - len(of_block))
    return Arrangement(tuple(places), tuple(of_block), block)


def rounded(count: int) -> int:
    """The next of 1 to 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, ...: four sizes between powers of two."""
    step = max(1, (1 << (count - 1).bit_length()) // 8)
    return -(-count // step) * step


class StaticCores:
    """Tensors of cores by layer, shared by all batches; they move only when more cores must be held."""

    def __init__(self) -> None:
        self.generation = 0  # rises when a tensor moved: what was recorded before is void
        self._held: dict[str, Tensor] = {}  # by layer: (blocks, k, k)
        self._biases: dict[str, Tensor] = {}  # by layer: (m + k,), the bias and zeros

    def fill(self, stack: CoreStack, names: Sequence[str], slots: Sequence[int]) -> CoresKey:
        """Write the cores of these slots, one a block; `names` are the layers for which one has a core."""
        sizes, parts = stack.k, stack.parts
        for name in names:
            (part,) = parts[name]
            if (
                name not in self._held
                or len(self._held[name]) < len(slots)
                or self._held[name].shape[1:] != part.shape[1:]
            ):
                self._held.pop(name, None)
                self._held[name] = part.new_zeros(len(slots), *part.shape[1:])
                self.generation += 1
        chosen = torch.tensor(slots, device=part.device)
        for name in names:
            torch.index_select(parts[name][0], 0, chosen, out=self._held[name][: len(slots)])
        return CoresKey(tuple((name, sizes[name]) for name in names), len(slots))

    @contextmanager
    def mounted(self, layers: Mapping[str, AdaptedLinear], key: CoresKey) -> Iterator[None]:
        """Have the layers of `key` read these tensors."""
        before = {name: layers[name].mixed for name, _ in key.layers}
        try:
            for name, k in key.layers:
                layers[name].mixed = StaticLayer(
                    layers[name], self._held[name][: key.blocks], self._bias(name, layers[name], k)
                )
            yield
        finally:
            for name, mixed in before.items():
                layers[name].mixed = mixed

    def _bias(self, name: str, layer: AdaptedLinear, k: int) -> Tensor | None:
        """The bias of W and V_k^T together, None where the layer has none."""
        if layer.bias is None:
            return None
        held = self._biases.get(name)
        if held is None or len(held) != layer.out_features + k:
            held = self._biases[name] = torch.cat([layer.bias.detach(), layer.bias.new_zeros(k)])
            self.generation += 1
        return held


class StaticLayer:
    """What stands on an `AdaptedLinear` meanwhile: x (rows, ..., n) to (rows, ..., m)."""

    def __init__(self, layer: AdaptedLinear, cores: Tensor, bias: Tensor | None) -> None:
        """cores: (blocks, k, k), each of as many rows. bias: (m + k,), for W and V_k^T in one product."""
        k = cores.shape[-1]
        self._weight, self._bias = layer.linear.weight, layer.linear.bias
        self._vh, self._ut = layer.vh[:k], layer.ut[:k]  # (k, n), (k, m)
        self._joined, self._joined_bias = layer.joined(k), bias  # (m + k, n), (m + k,)
        self._cores, self._k = cores.mT, k

    def __call__(self, x: Tensor) -> Tensor:
        heard = x.reshape(-1, x.shape[-1])  # (rows T, n)
        if self._joined is not None:
            both = functional.linear(heard, self._joined, self._joined_bias)
            y, inner = both[:, : -self._k], both[:, -self._k :]
        else:
            y = tall_linear(heard, self._weight, self._bias)
            inner = functional.linear(heard, self._vh)  # (rows T, k)
        if len(self._cores) == 1:
            turned = inner @ self._cores[0]
        else:
            turned = torch.bmm(inner.view(len(self._cores), -1, self._k), self._cores).view(-1, self._k)
        y.addmm_(turned, self._ut)
        return y.view(*x.shape[:-1], -1)
