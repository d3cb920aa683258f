"""An adapter in host memory: the numbers of its file in one stretch, made into cores where the model runs.

A skew half and a delta-sigma are a quarter of the dense cores' bytes in half precision. The numbers keep the
format of the file: rounded further they would not be those whose error rate stands in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ssvd_asr.adapter_metadata import AdapterMetadata
from ssvd_asr.errors import AdapterError
from ssvd_asr.maps import RotationMap, rotation_key, rotation_shape
from ssvd_asr.rotation import core, rotation_delta
from ssvd_asr.safetensors_header import LENGTH_BYTES, parse_header

CHUNK_BYTES = 64 * 2**20  # of float32 cores made together: bounds what expanding takes beside its result
_DTYPES = {"F16": ("<f2", torch.float16), "F32": ("<f4", torch.float32), "F64": ("<f8", torch.float64)}


@dataclass(frozen=True, eq=False)
class _Group:
    """Layers of one k. Where each one's numbers begin, counted in numbers."""

    k: int
    names: tuple[str, ...]
    rotations: tuple[int, ...]
    delta_sigmas: tuple[int, ...]
    sigma: Tensor  # (L, k) float64


@dataclass(frozen=True, eq=False)
class Layout:
    """Where in a file what stands; the same for good, since a digest names the file."""

    rotation_map: RotationMap
    dtype: str  # as safetensors calls it
    first_byte: int
    count: int  # of numbers
    groups: tuple[_Group, ...]

    @property
    def ks(self) -> dict[str, int]:
        """k by layer name."""
        return {name: group.k for group in self.groups for name in group.names}


@dataclass(frozen=True, eq=False)
class PackedAdapter:
    """One version's numbers, ready to be expanded again and again."""

    layout: Layout
    numbers: Tensor  # (count,) on the CPU, in the format of the file

    @property
    def ks(self) -> dict[str, int]:
        """k by layer name."""
        return self.layout.ks

    @property
    def nbytes(self) -> int:
        """Host memory that it takes."""
        sigma = sum(group.sigma.nbytes for group in self.layout.groups)
        return self.numbers.nbytes + sigma

    def expand(self, device: torch.device | str, dtype: torch.dtype) -> dict[str, Tensor]:
        """The cores (k, k) by layer name, computed on `device` in float32 or better and cast to `dtype`.

        Raises AdapterError for a core that is not finite there.
        """
        numbers = self.numbers.to(device, non_blocking=True)
        cores: dict[str, Tensor] = {}
        finite: list[Tensor] = []
        with torch.no_grad():
            for names, made in self._chunks(numbers):
                ready = made.to(dtype)
                finite.append(torch.isfinite(ready).all())
                cores.update(zip(names, ready.unbind(), strict=True))
            if not bool(torch.stack(finite).all()):
                name = next(name for name, each in cores.items() if not bool(torch.isfinite(each).all()))
                raise AdapterError(f"layer {name!r}: its core is not finite in {dtype}")
        return cores

    def _chunks(self, numbers: Tensor) -> Iterator[tuple[tuple[str, ...], Tensor]]:
        kind = self.layout.rotation_map
        for group in self.layout.groups:
            together = max(1, CHUNK_BYTES // (4 * group.k**2))
            shape = rotation_shape(kind, group.k)
            for start in range(0, len(group.names), together):
                part = slice(start, start + together)
                rotation = _gather(numbers, group.rotations[part], int(np.prod(shape)))
                delta = rotation_delta(kind, rotation.view(-1, *shape))
                delta_sigma = _gather(numbers, group.delta_sigmas[part], group.k)
                sigma = group.sigma[part].to(numbers.device)
                yield group.names[part], core(sigma, delta, delta_sigma)


def layout_of(data: bytes, metadata: AdapterMetadata) -> Layout:
    """Read where things stand in a file that `load_adapter` has accepted, and that says this of itself."""
    length = int.from_bytes(data[:LENGTH_BYTES], "little")
    header = parse_header(data[LENGTH_BYTES : LENGTH_BYTES + length])
    dtype = next(iter(header.tensors.values())).dtype
    itemsize = np.dtype(_DTYPES[dtype][0]).itemsize
    rotation = rotation_key(metadata.rotation_map)
    alike: dict[int, list[str]] = {}
    for name, k in metadata.ks.items():
        alike.setdefault(k, []).append(name)

    def begin(key: str) -> int:
        return header.tensors[key].begin // itemsize

    groups = tuple(
        _Group(
            k=k,
            names=tuple(names),
            rotations=tuple(begin(f"{name}.{rotation}") for name in names),
            delta_sigmas=tuple(begin(f"{name}.delta_sigma") for name in names),
            sigma=torch.from_numpy(
                np.stack([metadata.layers[name].fingerprint_values()[0] for name in names])
            ),
        )
        for k, names in alike.items()
    )
    first = LENGTH_BYTES + length
    return Layout(metadata.rotation_map, dtype, first, header.data_bytes // itemsize, groups)


def pack(data: bytes, layout: Layout, *, pinned: bool = False) -> PackedAdapter:
    """Take the numbers out of a file's bytes; pinned memory goes to a CUDA device twice as fast."""
    code, dtype = _DTYPES[layout.dtype]
    numbers = torch.empty(layout.count, dtype=dtype, pin_memory=pinned)
    numbers.numpy()[:] = np.frombuffer(data, dtype=code, count=layout.count, offset=layout.first_byte)
    return PackedAdapter(layout, numbers)


def _gather(numbers: Tensor, begins: Sequence[int], size: int) -> Tensor:
    """(L, size) of stretches that begin there."""
    return torch.stack([numbers[begin : begin + size] for begin in begins])
