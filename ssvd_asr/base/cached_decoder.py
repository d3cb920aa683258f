"""Transformer decoder that advances rows by a token and caches keys and values, whatever its family.

A family adds how its modules embed, project and combine. They do the arithmetic, so adapted linears in them
work unchanged.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from ssvd_asr.base.positions import Positions
from ssvd_asr.base.rows import Rows
from ssvd_asr.layer.linear import AdaptedLinear
from ssvd_asr.layer.packed_linear import packed_linear
from ssvd_asr.mixing.mixture import MixedLayer


class CachedDecoder(ABC):
    """`Decoder` over a network's decoder and one encoder output.

    It is a context manager. Rows that leave take along their places in a mixture, or their per-row cores.
    Leaving the block restores the adapted linears to their state when the decoder was made.
    """

    def __init__(
        self, decoder: nn.Module, layers: Sequence[Any], listening: Sequence[Any], encoded: Tensor
    ) -> None:
        """Project keys and values of the encoder output (R, T, d), once for all steps.

        Args:
            layers: those of the decoder.
            listening: each layer's attention on the encoder output.
        """
        self._layers = layers
        self._device = encoded.device
        self._positions = Positions(len(encoded), encoded.device)
        adapted = [m for m in decoder.modules() if isinstance(m, AdaptedLinear)]
        self._adapted = [m for m in adapted if m.mixed is None and _per_row(m)]
        self._entered_with = [m.core for m in self._adapted]
        # All layers of a mixture share one object.
        mixed = (m.mixed for m in adapted if isinstance(m.mixed, MixedLayer))
        self._mixture = next((each.mixture for each in mixed), None)
        self._entered_slots = None if self._mixture is None else self._mixture.slots
        # Keys and values by layer. Those of the encoder output are held once for each utterance, keys as
        # (U, heads, d / heads, T) and values as (U, heads, T, d / heads): every step reads them in this
        # memory order, and would otherwise copy them. Those of the prefix are (R, heads, time, d / heads).
        self._rows = Rows(len(encoded), encoded.device)
        self._heard: list[tuple[Tensor, Tensor]] = []
        for attention in listening:
            keys, values = self._keys_values(attention, encoded)
            self._heard.append((_transposed(keys), values.contiguous()))
        self._said: list[tuple[Tensor, Tensor] | None] = [None] * len(layers)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for module, core in zip(self._adapted, self._entered_with, strict=True):
            module.core = core
        if self._mixture is not None and self._entered_slots is not None:
            self._mixture.put(self._entered_slots)

    def read(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """See `Decoder.read`."""
        return self.advance(self._positions.pad(prompts))

    def advance(self, tokens: Tensor) -> Tensor:
        """See `Decoder.advance`."""
        return self._scores(self._pass(tokens)[:, -1])

    def keep(self, rows: Sequence[int]) -> None:
        """See `Decoder.keep`. Padding that all kept rows have is dropped."""
        left = self._rows.keep(rows)
        if left is not None:
            self._heard = [(_kept(keys, left), _kept(values, left)) for keys, values in self._heard]
        chosen, common = torch.tensor(rows, device=self._device), self._positions.keep(rows)
        self._said = [
            None if said is None else (said[0][chosen, :, common:], said[1][chosen, :, common:])
            for said in self._said
        ]
        for module in self._adapted:
            assert module.core is not None
            module.core = module.core[chosen]
        if self._mixture is not None:
            self._mixture.keep(rows)

    def _pass(self, tokens: Tensor) -> Tensor:
        """Pass tokens (R, L) through the layers: (R, L, d). The rows are L tokens longer."""
        x = self._embed(tokens)
        hidden = self._positions.hidden(tokens.size(1))
        for index, layer in enumerate(self._layers):
            x = self._layer(index, layer, x, hidden)
        self._positions.count += tokens.size(1)
        return x

    @abstractmethod
    def _embed(self, tokens: Tensor) -> Tensor:
        """Embed tokens (R, L), starting at the rows' positions: (R, L, d)."""

    @abstractmethod
    def _layer(self, index: int, layer: Any, x: Tensor, hidden: Tensor | None) -> Tensor:
        """Compute a layer for the new positions only, with `_attend` and `_listen`; x is (R, L, d)."""

    @abstractmethod
    def _scores(self, last: Tensor) -> Tensor:
        """Return log-probabilities (R, V), float32, of the last layer's output (R, d)."""

    @abstractmethod
    def _keys_values(self, attention: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        """Project (N, time, d) to keys and values (N, heads, time, d / heads)."""

    @abstractmethod
    def _asked(self, attention: Any, x: Tensor) -> Tensor:
        """Project (N, L, d) to queries, not yet split into heads."""

    @abstractmethod
    def _queries(self, attention: Any, asked: Tensor) -> Tensor:
        """Split queries (N, L, d) into heads and scale them: (N, heads, L, d / heads)."""

    @abstractmethod
    def _out(self, attention: Any, mixed: Tensor) -> Tensor:
        """Apply the attention's last linear to (R, L, d)."""

    def _attend(self, index: int, attention: Any, x: Tensor, hidden: Tensor | None) -> Tensor:
        """Attend from x (R, L, d) to all tokens so far, x's included, except the hidden ones."""
        keys, values = self._keys_values(attention, x)
        said = self._said[index]
        if said is not None:
            keys, values = torch.cat([said[0], keys], dim=2), torch.cat([said[1], values], dim=2)
        self._said[index] = (keys, values)
        queries = self._queries(attention, self._asked(attention, x))
        scores = torch.matmul(queries, keys.transpose(-2, -1))  # (R, heads, L, time)
        if hidden is not None:
            scores = scores.masked_fill(hidden, torch.finfo(scores.dtype).min)
        mixed = torch.matmul(torch.softmax(scores, dim=-1), values)
        return self._out(attention, mixed.transpose(1, 2).reshape(x.shape))

    def _listen(self, index: int, attention: Any, x: Tensor) -> Tensor:
        """Attend from x (R, L, d) to the encoder output.

        The rows of an utterance are computed together, so its keys and values are read once.
        """
        keys, values = self._heard[index]
        asked = self._rows.spread(self._asked(attention, x))  # (U, width, L, d)
        queries = self._queries(attention, asked.flatten(1, 2))
        weights = torch.softmax(torch.matmul(queries, keys), dim=-1)
        mixed = torch.matmul(self._weighed(index, weights), values)
        return self._out(attention, self._rows.collect(mixed.transpose(1, 2).reshape(asked.shape)))

    def _weighed(self, index: int, weights: Tensor) -> Tensor:  # noqa: ARG002 - for those who look on
        """Take note of a layer's weights (U, heads, width x L, T) on the encoder output, and return them."""
        return weights


def output(layer: nn.Module, x: Tensor) -> Tensor:
    """Return layer(x) of the output layer: (R, d) to (R, V)."""
    if type(layer) is nn.Linear:
        return packed_linear(x, layer.weight, layer.bias)
    scores: Tensor = layer(x)
    return scores


def _transposed(keys: Tensor) -> Tensor:
    """Return keys (U, heads, T, d / heads) as (U, heads, d / heads, T), contiguous.

    On a CPU, torch transposes fast only one matrix at a time: 1500 frames by 512 in 0.8 ms, with heads 5 ms.
    """
    if keys.device.type != "cpu":
        return keys.transpose(-2, -1).contiguous()
    utterances, heads, time, size = keys.shape
    found = keys.new_empty(utterances, heads * size, time)
    for own, each in zip(found, keys.transpose(1, 2).reshape(utterances, time, heads * size), strict=True):
        own.copy_(each.t())
    return found.view(utterances, heads, size, time)


def _kept(heard: Tensor, left: Sequence[int]) -> Tensor:
    """Return some of the utterances' data (U, ...), in this order. May overwrite `heard`.

    Where the last ones fill the places of those that leave (`rows.filled`), only these are copied.
    """
    moved = [(place, old) for place, old in enumerate(left) if place != old]
    if any(old < len(left) for _, old in moved):
        return heard[torch.tensor(left, device=heard.device)]
    for place, old in moved:
        heard[place] = heard[old]
    return heard[: len(left)]


def _per_row(module: AdaptedLinear) -> bool:
    return module.core is not None and module.core.ndim == 3
