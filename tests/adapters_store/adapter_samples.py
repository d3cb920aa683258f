"""Small adapter files without torch, and stores to put them into."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import save

from adapters_store.packaged import write_builtin
from ssvd_asr.adapter.metadata import AdapterMetadata, LayerEntry


def adapter_bytes(seed: int, k: int = 3, domain: str | None = None) -> bytes:
    """An adapter file of one layer; another seed gives other bytes. `domain` is what it was trained as."""
    generator = np.random.default_rng(seed)
    fingerprint = np.stack([np.linspace(2.0, 1.0, k), *generator.standard_normal((2, k))])
    metadata = AdapterMetadata(
        rotation_map="first-order",
        p=0.5,
        base_name="owsm-test",
        base_digest="sha256:" + "0" * 64,
        layers={
            "encoder.linear": LayerEntry(
                k=k, out_features=8, in_features=6, fingerprint=LayerEntry.encode_fingerprint(fingerprint)
            )
        },
        training={
            "seed": seed,
            "wer_before": 0.5,
            "wer_after": 0.125,
            **({"domain": domain} if domain else {}),
        },
    )
    tensors = {
        "encoder.linear.skew": generator.standard_normal(k * (k - 1) // 2).astype(np.float16),
        "encoder.linear.delta_sigma": generator.standard_normal(k).astype(np.float16),
    }
    return save(tensors, metadata.to_header())


def adapter_file(folder: Path, seed: int, domain: str | None = None) -> Path:
    """The same as a file."""
    path = folder / f"adapter-{seed}.safetensors"
    path.write_bytes(adapter_bytes(seed, domain=domain))
    return path


def builtin_folder(folder: Path, **seeds: int) -> Path:
    """A folder of built-ins: builtin_folder(path, child=1)."""
    builtin = folder / "builtin"
    builtin.mkdir()
    for name, seed in seeds.items():
        write_builtin(builtin, name, adapter_file(folder, seed))
    return builtin
