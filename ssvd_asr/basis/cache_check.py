"""Check that stored factors belong to a weight: shapes, checksums, the weight rebuilt on a fixed input."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

FORMAT = "ssvd-factors-1"
# |W g - U S V^T g| / |W g| for a fixed g: rounding gives 1e-14, a weight cast to half precision 1e-2.
RECONSTRUCTION_TOLERANCE = 1e-9
HALF_RECONSTRUCTION_TOLERANCE = 5e-2
HALF = (torch.float16, torch.bfloat16)


def fault_of(
    name: str, weight: Tensor, metadata: Mapping[str, str], tensors: Mapping[str, Tensor]
) -> str | None:
    """Return what is wrong with the stored factors ut (r, m), s (r,), vh (r, n) of this weight, or None."""
    rank = min(weight.shape)
    expected = {"ut": (rank, weight.shape[0]), "s": (rank,), "vh": (rank, weight.shape[1])}
    if metadata.get("format") != FORMAT or metadata.get("layer") != name:
        return f"is {metadata.get('format')!r} of layer {metadata.get('layer')!r}"
    if {key: tuple(tensor.shape) for key, tensor in tensors.items()} != expected:
        return "has other shapes than its weight"
    if any(tensor.dtype != torch.float64 for tensor in tensors.values()):
        return "is not float64"
    if tensors_sha256(tensors) != metadata.get("factors_sha256"):
        return "fails its checksum"
    if weight.dtype not in HALF and weight_sha256(weight) != metadata.get("weight_sha256"):
        return "was made of other weights"
    matrix = weight.detach().to(device="cpu", dtype=torch.float64)
    probe = torch.cos(torch.arange(matrix.shape[1], dtype=torch.float64))
    wanted = matrix @ probe
    rebuilt = tensors["ut"].mT @ (tensors["s"] * (tensors["vh"] @ probe))
    tolerance = HALF_RECONSTRUCTION_TOLERANCE if weight.dtype in HALF else RECONSTRUCTION_TOLERANCE
    deviation = float((rebuilt - wanted).norm())
    if not deviation <= tolerance * max(float(wanted.norm()), float(tensors["s"][0])):
        return f"does not rebuild its weight (off by {deviation:.1e})"
    return None


def weight_sha256(weight: Tensor) -> str:
    """Hash the values in float64, so that half-precision files loaded as float32 or float64 agree."""
    return tensors_sha256({"weight": weight.detach().to(device="cpu", dtype=torch.float64)})


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """Hash names, shapes and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for key in sorted(tensors):
        digest.update(f"{key}{tuple(tensors[key].shape)}".encode())
        digest.update(tensors[key].contiguous().numpy().data)
    return digest.hexdigest()
