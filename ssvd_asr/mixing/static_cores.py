"""Cores of a batch in tensors at fixed addresses, which a recorded step can read again.

A step that is recorded once and replayed for other batches (ssvd_asr.base.step_graph) cannot follow a
plan made for the rows of one batch. Here the utterances are placed in blocks of equal size, each of one
domain, and an adapted layer multiplies each block by its core or, where there are few, by its own weight.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from ssvd_asr.layer.linear import AdaptedLinear
from ssvd_asr.layer.tall_linear import tall_linear
from ssvd_asr.mixing.core_stack import CoreStack
from ssvd_asr.mixing.grouped_linear import grouped_linear

FOLDED_ROWS = 16 * 1024  # see `_way`
MERGED_NUMBERS = {torch.bfloat16: 2**24, torch.float16: 2**24, torch.float32: 2**22}  # see `_way`

# How a layer treats its blocks: by W', by D^T U_k^T, or by D^T.
Way = Literal["merged", "folded", "cores"]


@dataclass(frozen=True)
class Arrangement:
    """Utterances in blocks of `block` places. The output of a place without an utterance is not read."""

    places: tuple[int, ...]  # of each utterance
    slots: tuple[int, ...]  # the domain of each block
    block: int

    @property
    def room(self) -> int:
        """Number of places."""
        return len(self.slots) * self.block


@dataclass(frozen=True)
class CoresKey:
    """Key of the recorded steps: all that they depend on except the values in the tensors."""

    layers: tuple[tuple[str, Way], ...]
    blocks: int


def arrange(slots: Sequence[int]) -> Arrangement:
    """Put utterances of these slots into blocks, with the fewest places and blocks in total.

    A step reads about as many numbers for a place (keys and values) as for a block (cores). The number of
    blocks is rounded up to a few sizes, so that few recordings serve all batches.
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
    """Round up to one of 1 to 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, ...: four sizes for each doubling."""
    step = max(1, (1 << (count - 1).bit_length()) // 8)
    return -(-count // step) * step


class StaticCores:
    """Tensors of cores by layer, shared by all batches. They move only to grow or to change shape."""

    def __init__(self) -> None:
        self.generation = 0  # rises when a tensor moves: earlier recordings are invalid
        self._held: dict[tuple[str, str], Tensor] = {}  # by layer and kind

    def fill(self, stack: CoreStack, layers: Mapping[str, AdaptedLinear], slots: Sequence[int]) -> CoresKey:
        """Write what the layers need of these slots, one per block, for each of the layers by name.

        Merged weights take at most `stack.hot.max_bytes`.
        """
        parts, blocks = stack.parts, len(slots)
        ways = _ways(layers, blocks, stack.hot.max_bytes)
        chosen = torch.tensor(slots, device=next(iter(layers.values())).weight.device)
        for name, layer in layers.items():
            (part,) = parts[name]
            if ways[name] == "merged":
                weights = self._room(name, "merged", blocks, layer.weight.detach().unsqueeze(0))
                weights.copy_(layer.merge(part[chosen]))
                continue
            cores = self._room(name, "cores", blocks, part)
            torch.index_select(part, 0, chosen, out=cores)
            if ways[name] == "folded":
                ut = layer.ut[: part.shape[-1]].unsqueeze(0)
                folded = self._room(name, "folded", blocks, ut)
                torch.bmm(cores.mT, ut.expand(blocks, -1, -1), out=folded)
        return CoresKey(tuple(ways.items()), blocks)

    @contextmanager
    def mounted(self, layers: Mapping[str, AdaptedLinear], key: CoresKey) -> Iterator[None]:
        """Let the layers of `key` read these tensors inside the block."""
        before = {name: layers[name].mixed for name, _ in key.layers}
        try:
            for name, way in key.layers:
                layer, held = layers[name], self._held[name, way][: key.blocks]
                layer.mixed = (
                    MergedLayer(layer, held)
                    if way == "merged"
                    else StaticLayer(layer, held, self._bias(name, layer), folded=way == "folded")
                )
            yield
        finally:
            for name, mixed in before.items():
                layers[name].mixed = mixed

    def _room(self, name: str, what: str, count: int, like: Tensor) -> Tensor:
        """Return the held tensor (count, ...) shaped like `like` after the first axis; new memory is zero."""
        held = self._held.get((name, what))
        if held is None or len(held) < count or held.shape[1:] != like.shape[1:]:
            held = None
            self._held.pop((name, what), None)
            held = self._held[name, what] = like.new_zeros(count, *like.shape[1:])
            self.generation += 1
        return held[:count]

    def _bias(self, name: str, layer: AdaptedLinear) -> Tensor | None:
        """Return the bias of W and V_k^T together (m + k,), or None if the layer has none."""
        if layer.bias is None:
            return None
        k = self._held[name, "cores"].shape[-1]
        held = self._held.get((name, "bias"))
        if held is None or len(held) != layer.out_features + k:
            held = self._held[name, "bias"] = torch.cat([layer.bias.detach(), layer.bias.new_zeros(k)])
            self.generation += 1
        return held


def _ways(layers: Mapping[str, AdaptedLinear], blocks: int, max_bytes: int) -> dict[str, Way]:
    """Return how each layer treats its blocks. All or none of those that merging suits are merged."""
    ways = {name: _way(layer, blocks, merges=True) for name, layer in layers.items()}
    merged = [layers[name].weight for name, way in ways.items() if way == "merged"]
    if sum(blocks * weight.numel() * weight.element_size() for weight in merged) <= max_bytes:
        return ways
    return {name: _way(layer, blocks, merges=False) for name, layer in layers.items()}


def _way(layer: AdaptedLinear, blocks: int, *, merges: bool) -> Way:
    """Return the quickest way for this many blocks, measured on an H200 with 64 rows and k 416.

    In bfloat16, us, by merged, folded, cores (the base's product): m and n 1024 with 4 blocks 5.3, 9.0, 12
    (4.9), 16 blocks 10.9, 11.4, 13 (4.4), 64 blocks -, 21, 21; m 4096 with 4 blocks 11.0, 12.3, 13.6 (6.0),
    16 blocks 36, 23, 14; n 4096 with 4 blocks 12.9, 13.9, 17 (8.7). One block merged is the base's product.
    In float32: m and n 1024 with 4 blocks 26, 41, 50 (30); m 4096 80, 67, 66 (36); n 4096 90, 87, 97 (72).
    """
    if merges and (blocks == 1 or blocks * layer.weight.numel() <= MERGED_NUMBERS[layer.weight.dtype]):
        return "merged"
    return "folded" if blocks * layer.out_features <= FOLDED_ROWS else "cores"


class MergedLayer:
    """Replacement of an `AdaptedLinear`'s forward by W': maps x (rows, ..., n) to (rows, ..., m)."""

    def __init__(self, layer: AdaptedLinear, weights: Tensor) -> None:
        """Take weights W' (blocks, m, n)."""
        self._weights, self._bias = weights, layer.linear.bias

    def __call__(self, x: Tensor) -> Tensor:
        y = grouped_linear(x.reshape(-1, x.shape[-1]), self._weights, self._bias)
        return y.view(*x.shape[:-1], -1)


class StaticLayer:
    """Replacement of an `AdaptedLinear`'s forward: maps x (rows, ..., n) to (rows, ..., m)."""

    def __init__(self, layer: AdaptedLinear, factor: Tensor, bias: Tensor | None, *, folded: bool) -> None:
        """Take factor D (blocks, k, k), or D^T U_k^T (blocks, k, m) if `folded`, and bias (m + k,)."""
        self._blocks = len(factor)
        self._folded = folded
        self._k = k = factor.shape[1]
        self._factor = factor if self._folded else factor.mT
        self._weight, self._bias = layer.linear.weight, layer.linear.bias
        self._vh, self._ut = layer.vh[:k], layer.ut[:k]  # (k, n), (k, m)
        self._joined, self._joined_bias = layer.joined(k), bias  # (m + k, n), (m + k,)

    def __call__(self, x: Tensor) -> Tensor:
        heard = x.reshape(-1, x.shape[-1])  # (rows T, n)
        if self._joined is not None:
            both = functional.linear(heard, self._joined, self._joined_bias)
            y, inner = both[:, : -self._k], both[:, -self._k :]
        else:
            y = tall_linear(heard, self._weight, self._bias)
            inner = functional.linear(heard, self._vh)  # (rows T, k)
        rows = inner.view(self._blocks, -1, self._k)
        if self._folded:
            y.view(self._blocks, -1, y.shape[-1]).baddbmm_(rows, self._factor)
        else:
            y.addmm_(torch.bmm(rows, self._factor).view(-1, self._k), self._ut)
        return y.view(*x.shape[:-1], -1)
