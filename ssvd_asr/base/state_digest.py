"""Digest of a network's tensors and of what else a base computes with."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from ssvd_asr.errors import BaseModelError


def state_entries(state: Mapping[str, torch.Tensor]) -> list[list[Any]]:
    """Return name, dtype, shape and SHA-256 of each tensor of a state dict, sorted by name."""
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:  # hashlib releases the interpreter lock
        return list(pool.map(_entry, sorted(state.items())))


def digest_of(content: Mapping[str, Any]) -> str:
    """Return "sha256:..." of content that JSON can hold; the order of keys does not count."""
    return "sha256:" + sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode())


def check_unchanged(name: str, loaded: str, now: str) -> None:
    """Raise BaseModelError if a base's digest is no longer that of loading, so that it cannot be exported."""
    if now != loaded:
        raise BaseModelError(
            f"base model {name!r} is no longer what was loaded and cannot be exported: "
            "load it in float32, and take adapted layers out first (AdaptedModel.restore())"
        )


def sha256(data: bytes | memoryview) -> str:
    """Return the SHA-256 in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def _entry(item: tuple[str, torch.Tensor]) -> list[Any]:
    name, tensor = item
    data = (
        tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    )  # little-endian, as torch itself is
    return [name, str(tensor.dtype), list(tensor.shape), sha256(data.numpy().data)]
