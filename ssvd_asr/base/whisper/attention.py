"""Attention in training: PyTorch's own, but for bfloat16 on processors.

There its fused kernel's backward pass is written for float32 and takes two to three times as long as products
that use the processor's bfloat16 instructions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask
from transformers.models.whisper.modeling_whisper import eager_attention_forward

TRAINING = "ssvd_training"  # name of this attention in transformers' table


def _attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, Tensor | None]:
    """Return (B, T, heads, d) of query (B, heads, T, d), key and value (B, heads, S, d)."""
    # The eager form knows no causal attention without a mask. Only the decoder's short one is causal.
    plain = attention_mask is None and not module.is_causal
    products = plain and query.device.type == "cpu" and query.dtype == torch.bfloat16
    way = eager_attention_forward if products and torch.is_grad_enabled() else sdpa_attention_forward
    found: tuple[Tensor, Tensor | None] = way(module, query, key, value, attention_mask, **options)
    return found


AttentionInterface.register(TRAINING, _attention)
AttentionMaskInterface.register(TRAINING, sdpa_mask)
