"""Gradient checkpointing: a layer's activations are discarded and computed again in the backward pass.

Only the input of each encoder and decoder layer is kept. Dropout draws the same numbers both times, so the
gradients are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint


@contextmanager
def recomputed_layers(layers: Sequence[Any]) -> Iterator[None]:
    """Recompute these layers, modules of encoder and decoder, in backward passes inside the block."""
    for layer in layers:
        layer.forward = partial(_twice, layer.forward)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward  # restores the class's method


def _twice(forward: Callable[..., Any], *inputs: Any, **named: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*inputs, **named)
    return checkpoint(forward, *inputs, use_reentrant=False, **named)
