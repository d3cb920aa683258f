"""Transformer decoder that advances rows by a token and caches keys and values.

ESPnet's own step caches layer outputs. For every token it projects keys and values of the whole prefix and of
the whole encoder output again (5.8x slower, 0.1B on two cores). The arithmetic here is ESPnet's, done by
ESPnet's modules, so adapted linears in them work unchanged.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn

from ssvd_asr.base.positions import Positions
from ssvd_asr.base.rows import Rows
from ssvd_asr.errors import BaseModelError
from ssvd_asr.layer.linear import AdaptedLinear
from ssvd_asr.layer.tall_linear import tall_linear
from ssvd_asr.mixing.mixture import MixedLayer

if TYPE_CHECKING:
    from espnet2.asr.decoder.transformer_decoder import TransformerDecoder
    from espnet2.legacy.nets.pytorch_backend.transformer.attention import MultiHeadedAttention
    from espnet2.legacy.nets.pytorch_backend.transformer.decoder_layer import DecoderLayer


class CachedDecoder:
    """`Decoder` over ESPnet's TransformerDecoder and one encoder output.

    It is a context manager. Rows that leave take along their places in a mixture, or their per-row cores.
    Leaving the block restores the adapted linears to their state when the decoder was made.
    """

    def __init__(self, decoder: TransformerDecoder, encoded: Tensor) -> None:
        """Project keys and values of the encoder output (R, T, d), once for all steps.

        Raises:
            BaseModelError: the decoder is not built like OWSM's.
        """
        check_build(decoder)
        self._decoder = decoder
        self._device = encoded.device
        self._positions = Positions(len(encoded), encoded.device)
        adapted = [m for m in decoder.modules() if isinstance(m, AdaptedLinear)]
        self._adapted = [m for m in adapted if m.mixed is None and _per_row(m)]
        self._entered_with = [m.core for m in self._adapted]
        # All layers of a mixture share one object.
        mixed = (m.mixed for m in adapted if isinstance(m.mixed, MixedLayer))
        self._mixture = next((each.mixture for each in mixed), None)
        self._entered_slots = None if self._mixture is None else self._mixture.slots
        # Keys and values by layer. Those of the encoder output are held once for each utterance, as the
        # function `_heard` makes them. Those of the prefix are (R, heads, time, d / heads).
        self._rows = Rows(len(encoded), encoded.device)
        self._heard = [_heard(layer.src_attn, encoded) for layer in decoder.decoders]
        self._said: list[tuple[Tensor, Tensor] | None] = [None] * len(decoder.decoders)

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
        x = self._embed(tokens)  # (R, L, d)
        hidden = self._positions.hidden(tokens.size(1))
        for index, layer in enumerate(self._decoder.decoders):
            x = self._layer(index, layer, x, hidden)
        self._positions.count += tokens.size(1)
        last = x[:, -1]  # (R, d)
        if self._decoder.normalize_before:
            last = self._decoder.after_norm(last)
        assert self._decoder.output_layer is not None  # check_build
        return torch.log_softmax(output(self._decoder.output_layer, last).float(), dim=-1)

    def keep(self, rows: Sequence[int]) -> None:
        """See `Decoder.keep`. Padding that all kept rows have is dropped."""
        left = self._rows.keep(rows)
        if left is not None:
            heard = torch.tensor(left, device=self._device)
            self._heard = [(keys[heard], values[heard]) for keys, values in self._heard]
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

    def _embed(self, tokens: Tensor) -> Tensor:
        """Embed tokens (R, L) as PositionalEncoding.forward does, starting at the rows' positions."""
        embedding, positions = self._decoder.embed
        x: Tensor = embedding(tokens)
        length = tokens.size(1)
        positions.extend_pe(x.new_zeros(1, self._positions.count + length))
        x = x * positions.xscale + positions.pe[0, self._positions.places(length)]
        return x

    def _layer(self, index: int, layer: DecoderLayer, x: Tensor, hidden: Tensor | None) -> Tensor:
        """Compute DecoderLayer.forward for the new positions only: (R, L, d) to (R, L, d)."""

        def attend(y: Tensor) -> Tensor:
            keys, values = keys_values(layer.self_attn, y)
            said = self._said[index]
            if said is not None:
                keys, values = torch.cat([said[0], keys], dim=2), torch.cat([said[1], values], dim=2)
            self._said[index] = (keys, values)
            return _attend(layer.self_attn, y, keys, values, hidden)

        return through_layer(layer, x, attend, lambda y: self._listen(layer.src_attn, y, *self._heard[index]))

    def _listen(self, attention: MultiHeadedAttention, x: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Compute MultiHeadedAttention.forward of queries x (R, L, d) on their utterances' encoder output.

        The rows of an utterance are computed together, so its keys and values are read once.
        """
        asked = self._rows.spread(attention.linear_q(x))  # (U, width, L, d)
        queries = attention.q_norm(split(attention, asked.flatten(1, 2))) / math.sqrt(attention.d_k)
        mixed = torch.matmul(torch.softmax(torch.matmul(queries, keys), dim=-1), values)
        output: Tensor = attention.linear_out(self._rows.collect(mixed.transpose(1, 2).reshape(asked.shape)))
        return output


def through_layer(
    layer: DecoderLayer, x: Tensor, attend: Callable[[Tensor], Tensor], listen: Callable[[Tensor], Tensor]
) -> Tensor:
    """Compute DecoderLayer.forward with `attend` on the prefix and `listen` on the encoder output."""
    before = layer.normalize_before
    x = x + attend(layer.norm1(x) if before else x)
    x = x if before else layer.norm1(x)
    x = x + listen(layer.norm2(x) if before else x)
    x = x if before else layer.norm2(x)
    x = x + layer.feed_forward(layer.norm3(x) if before else x)
    return x if before else layer.norm3(x)


def output(layer: nn.Module, x: Tensor) -> Tensor:
    """Return layer(x) of the output layer: (R, d) to (R, V)."""
    if type(layer) is nn.Linear:
        return tall_linear(x, layer.weight, layer.bias)
    scores: Tensor = layer(x)
    return scores


def keys_values(attention: MultiHeadedAttention, x: Tensor) -> tuple[Tensor, Tensor]:
    """Project (R, time, d) to keys and values (R, heads, time, d / heads)."""
    keys = attention.k_norm(split(attention, attention.linear_k(x)))
    return keys, split(attention, attention.linear_v(x))


def _heard(attention: MultiHeadedAttention, encoded: Tensor) -> tuple[Tensor, Tensor]:
    """Project encoder output (U, T, d) to keys (U, heads, d / heads, T) and values (U, heads, T, d / heads).

    Every step reads them in this memory order, and would otherwise copy them into it.
    """
    keys, values = keys_values(attention, encoded)
    return keys.transpose(-2, -1).contiguous(), values.contiguous()


def _attend(
    attention: MultiHeadedAttention, x: Tensor, keys: Tensor, values: Tensor, hidden: Tensor | None
) -> Tensor:
    """Compute MultiHeadedAttention.forward of queries x (R, L, d), which do not see the hidden keys."""
    queries = attention.q_norm(split(attention, attention.linear_q(x))) / math.sqrt(attention.d_k)
    scores = torch.matmul(queries, keys.transpose(-2, -1))  # (R, heads, L, time)
    if hidden is not None:
        scores = scores.masked_fill(hidden, torch.finfo(scores.dtype).min)
    mixed = torch.matmul(torch.softmax(scores, dim=-1), values)
    output: Tensor = attention.linear_out(mixed.transpose(1, 2).reshape(x.shape))
    return output


def split(attention: MultiHeadedAttention, x: Tensor) -> Tensor:
    """Split (R, time, d) into heads: (R, heads, time, d / heads)."""
    return x.view(len(x), -1, attention.h, attention.d_k).transpose(1, 2)


def _per_row(module: AdaptedLinear) -> bool:
    return module.core is not None and module.core.ndim == 3


def check_build(decoder: TransformerDecoder) -> None:
    """Raise BaseModelError if the decoder is not built like OWSM's and would be computed wrongly."""
    from espnet2.asr.decoder.transformer_decoder import TransformerDecoder
    from espnet2.legacy.nets.pytorch_backend.transformer.attention import MultiHeadedAttention
    from espnet2.legacy.nets.pytorch_backend.transformer.embedding import PositionalEncoding

    fits = (
        type(decoder) is TransformerDecoder
        and isinstance(decoder.embed[0], nn.Embedding)
        and type(decoder.embed[1]) is PositionalEncoding
        and decoder.output_layer is not None
        and all(
            not layer.concat_after
            and layer.sequential_attn is None
            and type(layer.self_attn) is MultiHeadedAttention
            and type(layer.src_attn) is MultiHeadedAttention
            for layer in decoder.decoders
        )
    )
    if not fits:
        raise BaseModelError(
            f"a decoder {type(decoder).__name__} with these decoder_conf options is not supported; "
            "decoding knows decoder: transformer with input_layer: embed and concat_after: false"
        )
