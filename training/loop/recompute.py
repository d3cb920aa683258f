"""Gradient checkpointing: a layer's activations are thrown away and computed again in the backward pass.

What is kept is the input of each encoder and decoder layer. Dropout draws the same numbers both times, so the
gradients are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint


@contextmanager
def recomputed_layers(network: Any) -> Iterator[None]:
    """Inside the block every encoder and decoder layer of an ESPnetS2TModel is computed twice."""
    layers = [*network.encoder.encoders, *network.decoder.decoders]
    for layer in layers:
        layer.forward = partial(_twice, layer.forward)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward  # the class's own shows again


def _twice(forward: Callable[..., Any], *inputs: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*inputs)
    return checkpoint(forward, *inputs, use_reentrant=False)
