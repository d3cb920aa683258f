"""Bases made from another base: an adapter merged into a copy of it, or weights that were all trained.

A merged base shares nothing with the first. Full fine-tuning and peft's methods train all weights.
"""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from ssvd_asr.adapted_model import adapt
from ssvd_asr.adapter.canary import check_publishable
from ssvd_asr.adapter.metadata import METADATA_KEY
from ssvd_asr.adapter.read import LoadedAdapter
from ssvd_asr.base.model import BaseModel
from ssvd_asr.base.weights import load_weights, read_trained
from ssvd_asr.basis.factors import LayerFactors
from ssvd_asr.errors import AdapterError


@torch.no_grad()
def merge_adapter(base: BaseModel, loaded: LoadedAdapter, factors: dict[str, LayerFactors]) -> BaseModel:
    """Return a copy of `base` with W' = W + U_k D V_k^T in place of W, and a digest of its own.

    Args:
        base: in float32, not adapted; it stays unchanged. The copy takes as much memory again.
        loaded: read with this base and these factors (`load_adapter(path, base, factors)`).

    Raises WrongBaseError for another base; AdapterError where the adapter has no canary or fails it, the base
    is not in float32, or a merged weight is not finite.
    """
    if base.dtype != torch.float32:
        raise AdapterError(f"weights are merged in float32, the base is in {base.dtype}: load it in float32")
    network, cores = copy.deepcopy(base.network), loaded.adapter.to(base.device).cores(torch.float32)
    adapted = adapt(network, factors, rank=max(loaded.adapter.spans.values()))
    check_publishable(loaded, adapted, base)
    for name, core in cores.items():
        layer = adapted.layers[name]
        merged = layer.merge(core)
        if not bool(torch.isfinite(merged).all()):
            raise AdapterError(f"{name}: the merged weight is not finite")
        layer.weight.copy_(merged)
    adapted.restore()
    return base.with_network(f"{base.name} with {loaded.sha256[:12]}", network)


def is_whole(path: Path) -> bool:
    """Return whether this is a safetensors file other than an adapter."""
    try:
        with safe_open(path, framework="pt") as file:
            return METADATA_KEY not in (file.metadata() or {})
    except SafetensorError:
        return False


def with_weights(base: BaseModel, path: Path) -> tuple[BaseModel, str]:
    """Return a base with the file's weights and a digest of its own, and the file's SHA-256.

    The weights are loaded into the network of `base`, so `base` itself must not be used afterwards.

    Raises BaseModelError where the weights do not fit, or were trained from another base.
    """
    state, sha256 = read_trained(path, base.digest)
    load_weights(base.network, state, f"weights {path}")
    return base.with_network(f"{base.name} with {sha256[:12]}", base.network), sha256
