"""Reader of adapter files, which may be hostile.

It limits sizes before it reads, and requires exactly the keys and shapes of the layer list. It refuses
numbers that are not finite, and compares base and basis. It uses nothing of a file unless all of it is valid.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ssvd_asr.adapter.base_match import BaseIdentity, check_base, check_basis
from ssvd_asr.adapter.header import LENGTH_BYTES, Header, header_length, parse_header
from ssvd_asr.adapter.metadata import AdapterMetadata
from ssvd_asr.errors import AdapterError

if TYPE_CHECKING:
    from torch import Tensor

    from ssvd_asr.adapter.adapter import Adapter
    from ssvd_asr.basis.factors import LayerFactors

MASK_KEY = "mask"  # key of the bits that say where a layer has entries (SVFT's top-k)
MASK_DTYPE = "U8"
FILE_DTYPES = {"float16": "F16", "float32": "F32", "float64": "F64"}


@dataclass(frozen=True)
class AdapterFileLimits:
    """Limits on the size of an adapter file, and on the size of the cores made from it.

    The header holds the fingerprints: 32 bytes for each of the k directions of each layer.
    """

    max_header_bytes: int = 32 * 2**20
    max_file_bytes: int = 512 * 2**20
    max_core_numbers: int = 2**31  # sum of (start + k)^2: SVFT and tail directions are small only in the file


DEFAULT_LIMITS = AdapterFileLimits()


@dataclass(frozen=True)
class LoadedAdapter:
    """An adapter as read from a file, with the hash of the file."""

    adapter: Adapter
    metadata: AdapterMetadata
    sha256: str  # of the whole file, hexadecimal


def inspect_adapter(
    source: Path | str | bytes, *, limits: AdapterFileLimits = DEFAULT_LIMITS
) -> AdapterMetadata:
    """Return the metadata of an adapter file, given as a path or as bytes, without importing torch.

    Raises AdapterError where the file cannot be read, or its header is not that of an adapter.
    """
    if isinstance(source, bytes):
        return _header_of(source, limits)[1]
    path = Path(source)
    try:
        with path.open("rb") as stream:
            size = _stream_size(stream, path, limits)
            length = header_length(stream.read(LENGTH_BYTES), limits.max_header_bytes)
            text = stream.read(length)
    except OSError as error:
        raise AdapterError(f"adapter {path} cannot be read: {error}") from error
    return _check_header(text, length, size, limits)[1]


def load_adapter(
    source: Path | str | bytes,
    base: BaseIdentity | None = None,
    factors: Mapping[str, LayerFactors] | None = None,
    *,
    limits: AdapterFileLimits = DEFAULT_LIMITS,
) -> LoadedAdapter:
    """Read an adapter file strictly; nothing of it is used unless all of it is valid.

    Args:
        source: a path, or the file's bytes.
        base: the base it must belong to, by digest, layer names and shapes.
        factors: the base's factors, which the fingerprints must match.

    The adapter's tensors come back in float32 (float64 files in float64).

    Raises WrongBaseError, WrongBasisError, or AdapterError for a file that is too large, damaged, of an
    unknown version, not finite, or whose tensors are not exactly those of its layer list.
    """
    data = source if isinstance(source, bytes) else read_bounded(Path(source), limits)
    header, metadata = _header_of(data, limits)
    if base is not None:
        check_base(metadata, base)
    if factors is not None:
        check_basis(metadata, factors)
    return LoadedAdapter(_build(data, header, metadata), metadata, hashlib.sha256(data).hexdigest())


def dtype_of(data: bytes) -> str:
    """Return the dtype of a file's trained numbers, as "float16". Raises AdapterError if it is no adapter."""
    header, _ = _header_of(data, DEFAULT_LIMITS)
    found = {entry.dtype for entry in header.tensors.values()}
    return next(name for name, code in FILE_DTYPES.items() if code in found)


def read_bounded(path: Path, limits: AdapterFileLimits = DEFAULT_LIMITS) -> bytes:
    """Return a file's bytes. Raises AdapterError if it cannot be read, or is over the limit."""
    try:
        with path.open("rb") as stream:
            # One byte more than expected, so that the length shows whether the file has grown meanwhile.
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


def _header_of(data: bytes, limits: AdapterFileLimits) -> tuple[Header, AdapterMetadata]:
    """Return the checked header and metadata in a whole file's bytes.

    Raises AdapterError as `_check_header` does, or for a file over the limit.
    """
    check_file_size(len(data), limits)
    length = header_length(data[:LENGTH_BYTES], limits.max_header_bytes)
    return _check_header(data[LENGTH_BYTES : LENGTH_BYTES + length], length, len(data), limits)


def _check_header(
    text: bytes, length: int, file_bytes: int, limits: AdapterFileLimits
) -> tuple[Header, AdapterMetadata]:
    """Check that the tensors are exactly those of the metadata's layers, and fill the file exactly."""
    if len(text) != length:
        raise AdapterError(f"the file ends inside its header: {len(text)} of {length} bytes")
    header = parse_header(text)
    metadata = AdapterMetadata.from_header(header.metadata)
    form = metadata.form
    masks = {
        f"{n}.{MASK_KEY}": ((k * k + 7) // 8,) for n, k in metadata.ks.items() if form.map == "svft-top-k"
    }
    expected: dict[str, tuple[int, ...]] = {
        f"{name}.{form.key(part)}": shape
        for name, k in metadata.ks.items()
        for part, shape in form.shapes(k).items()
    }
    expected |= masks
    for name in expected.keys() - header.tensors.keys():
        raise AdapterError(f"tensor {name!r} of the layer list is missing")
    for name in header.tensors.keys() - expected.keys():
        raise AdapterError(f"tensor {name[:200]!r} belongs to no layer of the list")
    for name, entry in header.tensors.items():
        if entry.shape != expected[name]:
            raise AdapterError(f"tensor {name!r} has shape {entry.shape}, expected {expected[name]}")
    dtypes = {entry.dtype for name, entry in header.tensors.items() if name not in masks}
    if len(dtypes) != 1 or not dtypes <= set(FILE_DTYPES.values()):
        raise AdapterError(
            f"tensors of {', '.join(sorted(dtypes))}: one of {', '.join(FILE_DTYPES)} is wanted"
        )
    numbers_end = max(entry.end for name, entry in header.tensors.items() if name not in masks)
    for name in masks:
        if header.tensors[name].dtype != MASK_DTYPE or header.tensors[name].begin < numbers_end:
            raise AdapterError(f"tensor {name!r} is not {MASK_DTYPE} after all numbers")
    if (numbers := sum(entry.span**2 for entry in metadata.layers.values())) > limits.max_core_numbers:
        raise AdapterError(
            f"cores of {numbers} numbers are over the limit of {limits.max_core_numbers} (max_core_numbers)"
        )
    if LENGTH_BYTES + length + header.data_bytes != file_bytes:
        wanted = LENGTH_BYTES + length + header.data_bytes
        raise AdapterError(f"the file has {file_bytes} bytes, its header describes {wanted}")
    return header, metadata


def _build(data: bytes, header: Header, metadata: AdapterMetadata) -> Adapter:
    """Return the adapter that the file holds; S_k comes from the fingerprints.

    Raises AdapterError for NaN or infinity.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load

    from ssvd_asr.adapter.adapter import Adapter

    try:
        state = load(data)
    except SafetensorError as error:
        raise AdapterError(f"not a safetensors file: {error}") from error
    for name in header.tensors:
        if state[name].is_floating_point() and not bool(torch.isfinite(state[name]).all()):
            raise AdapterError(f"tensor {name!r} holds NaN or infinity")
    sigmas = {
        name: torch.from_numpy(entry.fingerprint_values()[0]) for name, entry in metadata.layers.items()
    }
    positions = _positions(state, metadata)
    adapter = Adapter(metadata.form, sigmas, p=metadata.p, starts=metadata.starts, positions=positions)
    if any(tensor.dtype == torch.float64 for tensor in state.values()):
        adapter.double()
    adapter.load_state(state)
    return adapter


def _positions(state: dict[str, Tensor], metadata: AdapterMetadata) -> dict[str, Tensor] | None:
    """Remove the masks of SVFT's top-k from `state`; return their positions, or None for other maps.

    Raises AdapterError for a mask that does not fit its layer.
    """
    if metadata.form.map != "svft-top-k":
        return None
    from ssvd_asr.adapter.sparsity import from_mask

    positions = {}
    for name, k in metadata.ks.items():
        entries = metadata.form.parameters(k)
        try:
            positions[name] = from_mask(state.pop(f"{name}.{MASK_KEY}"), k, entries)
        except AdapterError as error:
            raise AdapterError(f"layer {name!r}: {error}") from error
    return positions
