"""Whisper's decoder with cached keys and values. transformers' modules do the arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ssvd_asr.base.cached_decoder import CachedDecoder, output


class WhisperDecoder(CachedDecoder):
    """`Decoder` over a WhisperForConditionalGeneration and one encoder output; see `CachedDecoder`."""

    def __init__(self, network: Any, encoded: Tensor) -> None:
        """Project keys and values of the encoder output (R, T, d), once for all steps."""
        self._decoder, self._output = network.model.decoder, network.proj_out
        layers = list(self._decoder.layers)
        super().__init__(self._decoder, layers, [layer.encoder_attn for layer in layers], encoded)

    def _embed(self, tokens: Tensor) -> Tensor:
        positions = self._decoder.embed_positions.weight
        x: Tensor = self._decoder.embed_tokens(tokens) + positions[self._positions.places(tokens.size(1))]
        return x

    def _layer(self, index: int, layer: Any, x: Tensor, hidden: Tensor | None) -> Tensor:
        x = x + self._attend(index, layer.self_attn, layer.self_attn_layer_norm(x), hidden)
        x = x + self._listen(index, layer.encoder_attn, layer.encoder_attn_layer_norm(x))
        y: Tensor = layer.fc2(layer.activation_fn(layer.fc1(layer.final_layer_norm(x))))
        return x + y

    def _scores(self, last: Tensor) -> Tensor:
        return torch.log_softmax(output(self._output, self._decoder.layer_norm(last)).float(), dim=-1)

    def _keys_values(self, attention: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        return _split(attention, attention.k_proj(x)), _split(attention, attention.v_proj(x))

    def _asked(self, attention: Any, x: Tensor) -> Tensor:
        asked: Tensor = attention.q_proj(x) * attention.scaling
        return asked

    def _queries(self, attention: Any, asked: Tensor) -> Tensor:
        return _split(attention, asked)

    def _out(self, attention: Any, mixed: Tensor) -> Tensor:
        out: Tensor = attention.out_proj(mixed)
        return out


class WatchedDecoder(WhisperDecoder):
    """Decoder that keeps the weights of some heads on the encoder output, and every token's probability."""

    def __init__(self, network: Any, encoded: Tensor, heads: Sequence[tuple[int, int]]) -> None:
        """Take heads as (layer, head)."""
        by_layer: dict[int, list[int]] = {}
        for layer, head in heads:
            by_layer.setdefault(layer, []).append(head)
        self._heads: Mapping[int, Sequence[int]] = by_layer
        self._seen: list[Tensor] = []
        super().__init__(network, encoded)

    def watch(self, sequences: Sequence[Sequence[int]]) -> list[tuple[Tensor, Tensor]]:
        """Read sequences of L + 1 tokens, one for each row, of any lengths.

        Returns for each row the weights (heads, L, T) of its tokens but the last, and the log-probabilities
        (L,) of its tokens but the first, float32 on the CPU.
        """
        tokens = self._positions.pad([sequence[:-1] for sequence in sequences])  # (R, L), padded in front
        x = self._decoder.layer_norm(self._pass(tokens))
        weights = torch.cat(self._seen, dim=1)  # (R, heads, L, T)
        found = []
        for row, sequence in enumerate(sequences):
            length = len(sequence) - 1
            logits = output(self._output, x[row, -length:]).float()
            own = torch.tensor(sequence[1:], device=logits.device).unsqueeze(1)
            scores = functional.log_softmax(logits, dim=-1).gather(1, own).squeeze(1)
            found.append((weights[row, :, -length:].float().cpu(), scores.cpu()))
        return found

    def _weighed(self, index: int, weights: Tensor) -> Tensor:
        if index in self._heads:
            self._seen.append(weights[:, list(self._heads[index])])
        return weights


def _split(attention: Any, x: Tensor) -> Tensor:
    """Split (N, time, d) into heads: (N, heads, time, d / heads)."""
    return x.view(len(x), -1, attention.num_heads, attention.head_dim).transpose(1, 2)
