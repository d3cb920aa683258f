"""Pass of features through Whisper's encoder, for windows of any length up to the model's."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional


def encode(encoder: Any, features: Tensor) -> Tensor:
    """Compute WhisperEncoder.forward of features (B, mels, frames): (B, frames / 2, d).

    transformers refuses fewer frames than the whole window. Their positions are simply the first ones.
    """
    output: Tensor = encoder.layer_norm(hidden(encoder, features, len(encoder.layers)))
    return output


def hidden(encoder: Any, features: Tensor, layers: int) -> Tensor:
    """Return the output (B, frames / 2, d) of the first `layers` layers, without the last normalisation."""
    x = functional.gelu(encoder.conv1(features))
    x = functional.gelu(encoder.conv2(x)).permute(0, 2, 1)
    x = x + encoder.embed_positions.weight[: x.size(1)]
    x = functional.dropout(x, p=encoder.dropout, training=encoder.training)
    for layer in encoder.layers[:layers]:
        x = layer(x, None)
    return x
