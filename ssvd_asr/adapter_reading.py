"""Reading an adapter file that may be hostile.

Sizes are capped before anything is read, keys and shapes are those of the layer list exactly, every number is
finite, and base and basis are compared. Nothing of a file is used unless all of it is good.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from ssvd_asr.adapter_metadata import AdapterMetadata
from ssvd_asr.errors import AdapterError, WrongBaseError
from ssvd_asr.maps import rotation_key, rotation_shape
from ssvd_asr.safetensors_header import LENGTH_BYTES, Header, header_length, parse_header

if TYPE_CHECKING:
    from torch import nn

    from ssvd_asr.adapter import Adapter
    from ssvd_asr.factors import LayerFactors

FILE_DTYPES = {"float16": "F16", "float32": "F32", "float64": "F64"}


@dataclass(frozen=True)
class AdapterFileLimits:
    """What reading may cost. The header holds the fingerprints, 32 bytes for each of the sum of all k."""

    max_header_bytes: int = 32 * 2**20
    max_file_bytes: int = 512 * 2**20


DEFAULT_LIMITS = AdapterFileLimits()


class BaseIdentity(Protocol):
    """What of a base model an adapter file is checked against."""

    @property
    def name(self) -> str: ...

    @property
    def digest(self) -> str: ...

    @property
    def network(self) -> nn.Module: ...


@dataclass(frozen=True)
class LoadedAdapter:
    """An adapter as read from a file, and which bytes it was read from."""

    adapter: Adapter
    metadata: AdapterMetadata
    sha256: str  # of the whole file, hexadecimal


def inspect_adapter(path: Path | str, *, limits: AdapterFileLimits = DEFAULT_LIMITS) -> AdapterMetadata:
    """Read an adapter's metadata only, without torch.

    Raises AdapterError where the header is not that of an adapter.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            size = _stream_size(stream, path, limits)
            length = header_length(stream.read(LENGTH_BYTES), limits.max_header_bytes)
            text = stream.read(length)
    except OSError as error:
        raise AdapterError(f"adapter {path} cannot be read: {error}") from error
    return _check_header(text, length, size)[1]


def load_adapter(
    source: Path | str | bytes,
    base: BaseIdentity | None = None,
    factors: Mapping[str, LayerFactors] | None = None,
    *,
    limits: AdapterFileLimits = DEFAULT_LIMITS,
) -> LoadedAdapter:
    """Read an adapter file strictly; nothing of it is used unless all of it is good.

    Args:
        source: a path, or the file's bytes.
        base: the base it must belong to, by digest, layer names and shapes.
        factors: the base's factors, which the fingerprints must match.

    The adapter's tensors come back in float32 (float64 files in float64).

    Raises WrongBaseError, WrongBasisError, or AdapterError for a file that is too large, damaged, of an
    unknown version, not finite, or whose tensors are not exactly those of its layer list.
    """
    data = source if isinstance(source, bytes) else _read_bounded(Path(source), limits)
    check_file_size(len(data), limits)
    length = header_length(data[:LENGTH_BYTES], limits.max_header_bytes)
    header, metadata = _check_header(data[LENGTH_BYTES : LENGTH_BYTES + length], length, len(data))
    if base is not None:
        _check_base(metadata, base)
    if factors is not None:
        _check_basis(metadata, factors)
    return LoadedAdapter(_build(data, header, metadata), metadata, hashlib.sha256(data).hexdigest())


def _read_bounded(path: Path, limits: AdapterFileLimits) -> bytes:
    try:
        with path.open("rb") as stream:
            # One byte more than there should be: a file that grows meanwhile is seen by its length.
            return stream.read(_stream_size(stream, path, limits) + 1)
    except OSError as error:
        raise AdapterError(f"adapter {path} cannot be read: {error}") from error


def _stream_size(stream: BinaryIO, path: Path, limits: AdapterFileLimits) -> int:
    status = os.fstat(stream.fileno())
    if not stat.S_ISREG(status.st_mode):
        raise AdapterError(f"adapter {path} cannot be read: not a regular file")
    check_file_size(status.st_size, limits)
    return status.st_size


def check_file_size(size: int, limits: AdapterFileLimits) -> None:
    """Raise AdapterError for a file over the limit."""
    if size > limits.max_file_bytes:
        raise AdapterError(
            f"adapter of {size} bytes is over the limit of {limits.max_file_bytes} (max_file_bytes)"
        )


def _check_header(text: bytes, length: int, file_bytes: int) -> tuple[Header, AdapterMetadata]:
    """Check that tensors are exactly those the metadata's layers need, and fill the file exactly."""
    if len(text) != length:
        raise AdapterError(f"the file ends inside its header: {len(text)} of {length} bytes")
    header = parse_header(text)
    metadata = AdapterMetadata.from_header(header.metadata)
    expected: dict[str, tuple[int, ...]] = {}
    for name, k in metadata.ks.items():
        expected[f"{name}.{rotation_key(metadata.rotation_map)}"] = rotation_shape(metadata.rotation_map, k)
        expected[f"{name}.delta_sigma"] = (k,)
    for name in expected.keys() - header.tensors.keys():
        raise AdapterError(f"tensor {name!r} of the layer list is missing")
    for name in header.tensors.keys() - expected.keys():
        raise AdapterError(f"tensor {name[:200]!r} belongs to no layer of the list")
    for name, entry in header.tensors.items():
        if entry.shape != expected[name]:
            raise AdapterError(f"tensor {name!r} has shape {entry.shape}, expected {expected[name]}")
    dtypes = {entry.dtype for entry in header.tensors.values()}
    if len(dtypes) != 1 or not dtypes <= set(FILE_DTYPES.values()):
        raise AdapterError(
            f"tensors of {', '.join(sorted(dtypes))}: one of {', '.join(FILE_DTYPES)} is wanted"
        )
    if LENGTH_BYTES + length + header.data_bytes != file_bytes:
        wanted = LENGTH_BYTES + length + header.data_bytes
        raise AdapterError(f"the file has {file_bytes} bytes, its header describes {wanted}")
    return header, metadata


def _check_base(metadata: AdapterMetadata, base: BaseIdentity) -> None:
    """The digest says it all; names and shapes are compared too, for a file that lies about its digest."""
    if metadata.base_digest != base.digest:
        raise WrongBaseError(
            f"the adapter was made for base {metadata.base_name!r} ({metadata.base_digest}), not for "
            f"{base.name!r} ({base.digest})"
        )
    from torch import nn

    from ssvd_asr.linear import AdaptedLinear

    modules = dict(base.network.named_modules())
    for name, entry in metadata.layers.items():
        module = modules.get(name)
        if not isinstance(module, (nn.Linear, AdaptedLinear)):
            raise AdapterError(f"layer {name!r} of the adapter is no linear of base {base.name!r}")
        if (module.out_features, module.in_features) != (entry.out_features, entry.in_features):
            raise AdapterError(
                f"layer {name!r} is {module.out_features} x {module.in_features} in the base, "
                f"{entry.out_features} x {entry.in_features} in the adapter"
            )


def _check_basis(metadata: AdapterMetadata, factors: Mapping[str, LayerFactors]) -> None:
    import torch

    from ssvd_asr.fingerprint import check_fingerprint

    for name, entry in metadata.layers.items():
        if name not in factors:
            raise AdapterError(f"layer {name!r} of the adapter has no factors in the base")
        if factors[name].shape != (entry.out_features, entry.in_features):
            raise AdapterError(
                f"layer {name!r} is {factors[name].shape} in the base's factors, "
                f"{(entry.out_features, entry.in_features)} in the adapter"
            )
        check_fingerprint(name, torch.from_numpy(entry.fingerprint_values()), factors[name])


def _build(data: bytes, header: Header, metadata: AdapterMetadata) -> Adapter:
    """Read the tensors, refuse NaN and infinity, and make the adapter; S_k comes from the fingerprints."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load

    from ssvd_asr.adapter import Adapter

    try:
        state = load(data)
    except SafetensorError as error:
        raise AdapterError(f"not a safetensors file: {error}") from error
    for name in header.tensors:
        if not bool(torch.isfinite(state[name]).all()):
            raise AdapterError(f"tensor {name!r} holds NaN or infinity")
    sigmas = {
        name: torch.from_numpy(entry.fingerprint_values()[0]) for name, entry in metadata.layers.items()
    }
    adapter = Adapter(metadata.rotation_map, sigmas, p=metadata.p)
    if any(tensor.dtype == torch.float64 for tensor in state.values()):
        adapter.double()
    adapter.load_state(state)
    return adapter
