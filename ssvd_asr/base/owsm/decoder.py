"""Transformer decoder that advances rows by a token and caches keys and values.

ESPnet's own step caches layer outputs. For every token it projects keys and values of the whole prefix and of
the whole encoder output again (5.8x slower, 0.1B on two cores). The arithmetic here is ESPnet's, done by
ESPnet's modules, so adapted linears in them work unchanged.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ssvd_asr.base.cached_decoder import CachedDecoder, output
from ssvd_asr.errors import BaseModelError

if TYPE_CHECKING:
    from espnet2.asr.decoder.transformer_decoder import TransformerDecoder
    from espnet2.legacy.nets.pytorch_backend.transformer.attention import MultiHeadedAttention
    from espnet2.legacy.nets.pytorch_backend.transformer.decoder_layer import DecoderLayer


class OwsmDecoder(CachedDecoder):
    """`Decoder` over ESPnet's TransformerDecoder and one encoder output; see `CachedDecoder`."""

    def __init__(self, decoder: TransformerDecoder, encoded: Tensor) -> None:
        """Project keys and values of the encoder output (R, T, d), once for all steps.

        Raises:
            BaseModelError: the decoder is not built like OWSM's.
        """
        check_build(decoder)
        self._decoder = decoder
        layers = list(decoder.decoders)
        super().__init__(decoder, layers, [layer.src_attn for layer in layers], encoded)

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
        return through_layer(
            layer,
            x,
            lambda y: self._attend(index, layer.self_attn, y, hidden),
            lambda y: self._listen(index, layer.src_attn, y),
        )

    def _scores(self, last: Tensor) -> Tensor:
        if self._decoder.normalize_before:
            last = self._decoder.after_norm(last)
        assert self._decoder.output_layer is not None  # check_build
        return torch.log_softmax(output(self._decoder.output_layer, last).float(), dim=-1)

    def _keys_values(self, attention: MultiHeadedAttention, x: Tensor) -> tuple[Tensor, Tensor]:
        return keys_values(attention, x)

    def _asked(self, attention: MultiHeadedAttention, x: Tensor) -> Tensor:
        asked: Tensor = attention.linear_q(x)
        return asked

    def _queries(self, attention: MultiHeadedAttention, asked: Tensor) -> Tensor:
        queries: Tensor = attention.q_norm(split(attention, asked)) / math.sqrt(attention.d_k)
        return queries

    def _out(self, attention: MultiHeadedAttention, mixed: Tensor) -> Tensor:
        out: Tensor = attention.linear_out(mixed)
        return out


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


def keys_values(attention: MultiHeadedAttention, x: Tensor) -> tuple[Tensor, Tensor]:
    """Project (R, time, d) to keys and values (R, heads, time, d / heads)."""
    keys = attention.k_norm(split(attention, attention.linear_k(x)))
    return keys, split(attention, attention.linear_v(x))


def split(attention: MultiHeadedAttention, x: Tensor) -> Tensor:
    """Split (R, time, d) into heads: (R, heads, time, d / heads)."""
    return x.view(len(x), -1, attention.h, attention.d_k).transpose(1, 2)


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
