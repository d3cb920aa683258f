"""Cache of canonical factors on disk, computed once per base and verified at each read.

Each layer has one safetensors file in a folder named by the base's digest, so an interrupted run continues
where it stopped. Files are written atomically. A file that is damaged, or belongs to other weights, is
computed again. Tensors are mapped from disk: only rows that are used take memory.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

import torch
from torch import Tensor, nn

from ssvd_asr.basis.cache_check import FORMAT, HALF, fault_of, tensors_sha256, weight_sha256
from ssvd_asr.basis.factors import LayerFactors, canonical_svd, spectrum_cut
from ssvd_asr.basis.layers import match_layers
from ssvd_asr.cache_root import CACHE_VARIABLE, cache_root
from ssvd_asr.errors import BaseModelError
from ssvd_asr.output_paths import naming
from ssvd_asr.progress import progress_bar

Factors = Mapping[str, LayerFactors]

VERIFIERS = 4  # threads; each holds one weight in float64

logger = logging.getLogger(__name__)


class FactorizableBase(Protocol):
    """The parts of a base model that this module needs."""

    @property
    def digest(self) -> str: ...

    @property
    def network(self) -> nn.Module: ...

    @property
    def linears(self) -> Sequence[str]: ...


def factor_folder(digest: str, cache_dir: Path | str | None = None) -> Path:
    """Return the folder for the factors of the base with this digest.

    Raises BaseModelError for a digest that is empty or longer than 200 characters.
    """
    if not digest or len(digest) > 200:
        raise BaseModelError(f"base digest {digest[:80]!r} is empty or longer than 200 characters")
    return cache_root(cache_dir) / "factors" / quote(digest.replace(":", "-"), safe="")


def factorize(
    base: FactorizableBase | tuple[Mapping[str, nn.Linear], str],
    cache_dir: Path | str | None = None,
    progress: bool = True,
    *,
    patterns: Sequence[str] | None = None,
    device: torch.device | str | None = None,
) -> dict[str, LayerFactors]:
    """Return the canonical factors of every adaptable layer, from the cache where possible.

    Args:
        base: a base model not yet adapted, or its linears by name with its digest.
        cache_dir: default SSVD_CACHE_DIR, else the user's cache folder.
        progress: show a bar on standard error while layers are computed.
        patterns: ends of the layer names, where `base` is a model; default its `linears`.
        device: where missing layers are computed; default the device of the weights. A CUDA device computes
            layers of one shape together.

    Writes below the cache folder, under a lock that a second process waits for. A complete cache is only
    read.

    Raises BaseModelError where a weight has no factors, where weights in half precision have none in the
    cache yet, or where the folder cannot be written.
    """
    if isinstance(base, tuple):
        linears, digest = base
    else:
        linears = match_layers(base.network, base.linears if patterns is None else patterns)
        digest = base.digest
    folder = factor_folder(digest, cache_dir)
    with ThreadPoolExecutor(VERIFIERS) as pool:  # hashing releases the interpreter lock
        read = pool.map(lambda item: _read_verified(folder, item[0], item[1].weight), linears.items())
        found = dict(zip(linears, read, strict=True))
    missing = [name for name, factors in found.items() if factors is None]
    if missing:
        try:
            weights = {name: linears[name].weight for name in missing}
            there = torch.device(device) if device is not None else weights[missing[0]].device
            computed = _compute(folder, weights, len(found) - len(missing), there, progress)
        except OSError as error:
            raise BaseModelError(
                f"factor cache {folder} cannot be written: {error} (setting {CACHE_VARIABLE})"
            ) from error
        found |= computed
    return {name: factors for name, factors in found.items() if factors is not None}


def _compute(
    folder: Path, weights: Mapping[str, Tensor], done_before: int, device: torch.device, progress: bool
) -> dict[str, LayerFactors]:
    """Compute and store missing layers; read those that another process has stored meanwhile.

    Each layer is stored as soon as it is computed, so that a stopped run can continue after it.
    """
    from filelock import FileLock

    for name, weight in weights.items():
        if weight.dtype in HALF:
            raise BaseModelError(
                f"layer {name!r} is {weight.dtype}: factors of rounded weights are another basis. Load the "
                "base as float32 and run `ssvd factorize` once; the cache then serves every dtype"
            )
    folder.mkdir(parents=True, exist_ok=True)
    done: dict[str, LayerFactors] = {}
    with FileLock(folder / ".lock"):
        for stale in folder.glob("*.tmp"):
            stale.unlink()
        total = done_before + len(weights)
        with progress_bar(
            desc="factorize", unit="layer", total=total, initial=done_before, disable=not progress
        ) as bar:
            for group in _groups(weights, device):
                bar.set_postfix_str(f"{group[0]} {tuple(weights[group[0]].shape)}")
                for name in group:
                    factors = _read_verified(folder, name, weights[name])
                    if factors is not None:
                        done[name] = factors
                        bar.update()
                lacking = [name for name in group if name not in done]
                for name, factors in zip(
                    lacking, _factors([weights[n] for n in lacking], device), strict=True
                ):
                    done[name] = _stored(folder, name, weights[name], factors)
                    bar.update()
    return done


def _groups(weights: Mapping[str, Tensor], device: torch.device) -> Iterator[list[str]]:
    """Yield the names of layers to compute together: single layers on the CPU, else layers of one shape."""
    if device.type == "cpu":
        yield from ([name] for name in weights)
        return
    from ssvd_asr.basis.factors_batched import batch_size

    by_shape: dict[tuple[int, ...], list[str]] = {}
    for name, weight in weights.items():
        by_shape.setdefault(tuple(weight.shape), []).append(name)
    for (rows, columns), names in by_shape.items():
        size = batch_size((rows, columns))
        yield from (names[start : start + size] for start in range(0, len(names), size))


def _factors(weights: Sequence[Tensor], device: torch.device) -> Iterator[LayerFactors]:
    if not weights:
        return
    if device.type == "cpu":
        yield from (canonical_svd(weight) for weight in weights)
        return
    from ssvd_asr.basis.factors_batched import canonical_svd_batch

    yield from canonical_svd_batch(weights, device)


def _stored(folder: Path, name: str, weight: Tensor, factors: LayerFactors) -> LayerFactors:
    """Write a layer's factors and return them as read back, mapped from disk.

    Raises BaseModelError where they fail their check.
    """
    _write(folder, name, weight, factors)
    found = _read_verified(folder, name, weight)
    if found is None:
        raise BaseModelError(f"the factors of {name!r} in {folder} fail their check right after writing")
    return found


def layer_file(folder: Path, name: str) -> Path:
    """Return the file of one layer."""
    return folder / f"{quote(name, safe='')}.safetensors"


def _write(folder: Path, name: str, weight: Tensor, factors: LayerFactors) -> None:
    from safetensors.torch import save

    tensors = {"ut": factors.u.mT.contiguous(), "s": factors.s.contiguous(), "vh": factors.vh.contiguous()}
    metadata = {
        "format": FORMAT,
        "layer": name,
        "weight_sha256": weight_sha256(weight),
        "factors_sha256": tensors_sha256(tensors),
    }
    write_atomically(layer_file(folder, name), save(tensors, metadata))


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file atomically: at any time, also after a crash, it holds the old bytes or the new ones.

    Raises OSError, with the path.
    """
    with naming(path):
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            os.chmod(temporary, 0o644)  # mkstemp's 0600 would hide a shared cache from its other users
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # store the new name too
        finally:
            os.close(folder)


def _read_verified(folder: Path, name: str, weight: Tensor) -> LayerFactors | None:
    """Return a layer's factors, or None where they are missing or fail a check. Failures are logged."""
    from safetensors import SafetensorError, safe_open

    path = layer_file(folder, name)
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError) as error:
        reason: str | None = f"unreadable ({error})"
    else:
        reason = fault_of(name, weight, metadata, tensors)
    if reason is not None:
        logger.warning("factor cache %s: %s; computing it anew", path, reason)
        return None
    return LayerFactors(tensors["ut"].mT, tensors["s"], tensors["vh"], spectrum_cut(tensors["s"]))
