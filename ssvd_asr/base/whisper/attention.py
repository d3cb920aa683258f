"""Attention in training: PyTorch's own, but for bfloat16 on processors.

There its fused kernel's backward pass is written for float32 and takes two to three times as long as products
that use the processor's bfloat16 instructions.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

_NAME = "ssvd_training"


@lru_cache(maxsize=1)
def training_attention() -> str:
    """Return the name under which transformers' table has this attention, and put it there."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(_NAME, _attention)
    AttentionMaskInterface.register(_NAME, sdpa_mask)
    return _NAME


def _attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, Tensor | None]:
    """Return (B, T, heads, d) of query (B, heads, T, d), key and value (B, heads, S, d)."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.models.whisper import modeling_whisper

    # The eager form knows no causal attention without a mask. Only the decoder's short one is causal.
    plain = attention_mask is None and not module.is_causal
    products = plain and query.device.type == "cpu" and query.dtype == torch.bfloat16
    eager = modeling_whisper.eager_attention_forward
    way = eager if products and torch.is_grad_enabled() else sdpa_attention_forward
    found: tuple[Tensor, Tensor | None] = way(module, query, key, value, attention_mask, **options)
    return found
