"""Stores of random domains for a base. They are served like trained ones; what they say means little."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from adapters_store.store import AdapterStore
from ssvd_asr.adapter.adapter import Adapter
from ssvd_asr.adapter.write import describe_adapter, save_adapter
from ssvd_asr.base.load import load_base
from ssvd_asr.basis.cache import factorize

LOUDNESS = 0.02  # small, so that a domain decodes about as long as its base
P = 0.4  # share of the directions that a domain turns


def random_adapters(base_name: str, folder: Path, count: int) -> Iterator[Path]:
    """Write adapter files of a base, each of other numbers, and yield their paths."""
    base = load_base(base_name, device="cpu", dtype="float32")
    factors = factorize(base, progress=False)
    for seed in range(count):
        adapter = Adapter.new(factors, p=P)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in adapter.parameters():
                parameter.copy_(LOUDNESS * torch.randn(parameter.shape, generator=generator))
        path = folder / f"{seed}.safetensors"
        save_adapter(path, adapter, metadata=describe_adapter(adapter, base, factors))
        yield path


def domain_name(number: int) -> str:
    """Return the name of a random domain."""
    return f"domain-{number:03}"


def publish_random_domains(base_name: str, store: AdapterStore, folder: Path, count: int) -> list[str]:
    """Publish so many random domains, and return their names."""
    names = []
    for number, path in enumerate(random_adapters(base_name, folder, count)):
        names.append(store.publish(domain_name(number), path).name)
        path.unlink()
    return names
