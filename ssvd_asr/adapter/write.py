"""Writer of adapter files: one safetensors file per domain, with the identity of its base and basis.

docs/adapter-format.md describes the file field by field. read.py reads it and checks everything in it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ssvd_asr.adapter.base_match import BaseIdentity
from ssvd_asr.adapter.header import LENGTH_BYTES, header_length
from ssvd_asr.adapter.metadata import AdapterMetadata, Canary, LayerEntry
from ssvd_asr.adapter.read import DEFAULT_LIMITS, FILE_DTYPES, MASK_KEY, AdapterFileLimits, check_file_size
from ssvd_asr.adapter.voices import VoiceSummary
from ssvd_asr.errors import AdapterError

if TYPE_CHECKING:
    from ssvd_asr.adapter.adapter import Adapter
    from ssvd_asr.basis.factors import LayerFactors

DEFAULT_DTYPE = "float16"


def describe_adapter(
    adapter: Adapter,
    base: BaseIdentity,
    factors: Mapping[str, LayerFactors],
    *,
    canary: Canary | None = None,
    training: Mapping[str, object] | None = None,
    voices: VoiceSummary | None = None,
) -> AdapterMetadata:
    """Return the metadata of an adapter trained on this base and these factors.

    Args:
        training: a summary in JSON values: data, steps, wer_before, wer_after, ...

    Raises AdapterError where the summary is not JSON, or holds NaN or infinity.
    """
    from ssvd_asr.basis.fingerprint import fingerprint

    try:
        json.dumps(training, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise AdapterError(f"the training summary is not JSON: {error}") from error
    form, starts = adapter.form, adapter.starts
    first = form.plain and not any(starts.values()) and voices is None
    layers = {
        name: LayerEntry(
            k=k,
            **({} if first else {"start": starts[name]}),
            out_features=factors[name].shape[0],
            in_features=factors[name].shape[1],
            fingerprint=LayerEntry.encode_fingerprint(fingerprint(factors[name], k, starts[name]).numpy()),
        )
        for name, k in adapter.ks.items()
    }
    second = {
        "format_version": 2 if voices is None else 3,
        "method": form.method,
        "outer_rotation": form.outer,
        "delta_sigma": form.delta_sigma,
        "off_diagonals": form.off_diagonals,
    }
    return AdapterMetadata.model_validate(
        {
            **({} if first else second),
            "rotation_map": form.map,
            "p": adapter.p,
            "base_name": base.name,
            "base_digest": base.digest,
            "layers": layers,
            "canary": canary,
            "voices": voices,
            "training": dict(training or {}),
        }
    )


def save_adapter(
    path: Path | str,
    adapter: Adapter,
    *,
    metadata: AdapterMetadata,
    dtype: str = DEFAULT_DTYPE,
    limits: AdapterFileLimits = DEFAULT_LIMITS,
) -> str:
    """Write an adapter file atomically and return its SHA-256 (hexadecimal).

    The same adapter and metadata give the same bytes.

    Raises AdapterError where the metadata describes another adapter, `dtype` is unknown or cannot hold a
    number, or the file would be over `limits`.
    """
    from ssvd_asr.basis.cache import write_atomically

    data = adapter_bytes(adapter, metadata=metadata, dtype=dtype, limits=limits)
    write_atomically(Path(path), data)
    return hashlib.sha256(data).hexdigest()


def adapter_bytes(
    adapter: Adapter,
    *,
    metadata: AdapterMetadata,
    dtype: str = DEFAULT_DTYPE,
    limits: AdapterFileLimits = DEFAULT_LIMITS,
) -> bytes:
    """Return the bytes of the file that `save_adapter` writes. Raises as it does."""
    import torch
    from safetensors.torch import save

    from ssvd_asr.adapter.sparsity import to_mask

    if dtype not in FILE_DTYPES:
        raise AdapterError(f"adapter dtype {dtype!r} is not one of {', '.join(FILE_DTYPES)}")
    same = metadata.ks == adapter.ks and metadata.starts == adapter.starts
    if not same or metadata.form != adapter.form:
        raise AdapterError("the metadata describes another adapter: its layers, k or map differ")
    state = {}
    for name, tensor in adapter.state.items():
        # Copied, because layers of one k share storage and safetensors refuses shared memory.
        state[name] = tensor.to(device="cpu", dtype=getattr(torch, dtype), copy=True).contiguous()
        if not bool(torch.isfinite(state[name]).all()):
            raise AdapterError(f"{name}: holds a number that is not finite in {dtype}")
    if adapter.form.map == "svft-top-k":
        for name, positions in adapter.positions.items():
            state[f"{name}.{MASK_KEY}"] = to_mask(positions, adapter.ks[name])
    data: bytes = save(state, metadata.to_header())
    header_length(data[:LENGTH_BYTES], limits.max_header_bytes)
    check_file_size(len(data), limits)
    return data
