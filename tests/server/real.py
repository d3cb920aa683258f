"""A tiny random OWSM in a folder, and an adapter for it that changes what it says."""

from __future__ import annotations

from pathlib import Path

import torch

from ssvd_asr.adapted_model import adapt
from ssvd_asr.adapter.adapter import Adapter
from ssvd_asr.adapter.canary import seal_adapter
from ssvd_asr.adapter.write import describe_adapter, save_adapter
from ssvd_asr.base.load import load_base
from ssvd_asr.basis.cache import factorize


def write_random_adapter(path: Path, base_folder: Path, cache_dir: Path, *, seed: int = 0) -> Path:
    """An adapter of random numbers, large enough to be heard."""
    base = load_base(base_folder, device="cpu", dtype="float32")
    factors = factorize(base, cache_dir, progress=False)
    adapter = Adapter.new(factors, p=0.5)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    save_adapter(path, adapter, metadata=describe_adapter(adapter, base, factors))
    return path


def write_sealed_adapter(path: Path, base_folder: Path, cache_dir: Path) -> Path:
    """An adapter of random numbers with its canary, as `ssvd train` writes one."""
    base = load_base(base_folder, device="cpu", dtype="float32")
    factors = factorize(base, cache_dir, progress=False)
    adapter = Adapter.new(factors, k=4)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    seal_adapter(path, adapter, adapt(base.network, factors), base, factors)
    return path
