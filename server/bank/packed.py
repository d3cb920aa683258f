"""Packed adapter: the numbers of its file in host memory, expanded to cores on the model's device.

A skew half and a delta-sigma in half precision take a quarter of the bytes of dense float32 cores. The
numbers keep the format of the file: after further rounding, the error rate recorded there would not hold.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ssvd_asr.adapter.cores import stacked_cores
from ssvd_asr.adapter.forms import CoreForm, Part
from ssvd_asr.adapter.header import LENGTH_BYTES, Header, parse_header
from ssvd_asr.adapter.metadata import AdapterMetadata
from ssvd_asr.adapter.read import FILE_DTYPES, MASK_KEY
from ssvd_asr.adapter.sparsity import fixed_positions, from_mask
from ssvd_asr.errors import AdapterError
from ssvd_asr.mixing.compression import Compression

CHUNK_BYTES = 64 * 2**20  # of float32 cores made together; bounds the memory of expanding, besides the result
_DTYPES = {"F16": ("<f2", torch.float16), "F32": ("<f4", torch.float32), "F64": ("<f8", torch.float64)}


@dataclass(frozen=True, eq=False)
class _Group:
    """Layers of one k and start, with the offset of each layer's numbers, counted in numbers."""

    k: int
    start: int
    names: tuple[str, ...]
    begins: Mapping[Part, tuple[int, ...]]
    sigma: Tensor  # (L, k) float64
    positions: Tensor | None  # (L, entries) int32, SVFT's

    @property
    def span(self) -> int:
        return self.start + self.k


@dataclass(frozen=True, eq=False)
class Layout:
    """Positions of the numbers in a file. They never change, because its digest names the file."""

    form: CoreForm
    dtype: str  # name in safetensors
    first_byte: int
    count: int  # of numbers
    groups: tuple[_Group, ...]

    @property
    def ks(self) -> dict[str, int]:
        """Size of each layer's core, by layer name."""
        return {name: group.span for group in self.groups for name in group.names}

    @property
    def directions(self) -> dict[str, tuple[int, int]]:
        """The first direction that changes, and how many do (start, k), by layer name."""
        return {name: (group.start, group.k) for group in self.groups for name in group.names}

    @property
    def positions(self) -> dict[str, Tensor]:
        """Flat positions of SVFT's entries, (entries,) by layer name; empty for other forms."""
        return {
            name: row
            for group in self.groups
            if group.positions is not None
            for name, row in zip(group.names, group.positions, strict=True)
        }

    def places(self) -> dict[tuple[str, Part], tuple[int, int]]:
        """Return where each layer's numbers of each part begin, and how many they are."""
        return {
            (name, part): (begin, math.prod(shape))
            for group in self.groups
            for part, shape in self.form.shapes(group.k).items()
            for name, begin in zip(group.names, group.begins[part], strict=True)
        }


@dataclass(frozen=True, eq=False)
class PackedAdapter:
    """One version's numbers, which can be expanded any number of times."""

    layout: Layout
    numbers: Tensor  # (count,) on the CPU, in the format of the file

    @property
    def ks(self) -> dict[str, int]:
        """Size of each layer's core, by layer name."""
        return self.layout.ks

    @property
    def nbytes(self) -> int:
        """Host memory of the adapter, in bytes."""
        fixed = [each for group in self.layout.groups for each in (group.sigma, group.positions)]
        return self.numbers.nbytes + sum(each.nbytes for each in fixed if each is not None)

    def expand(self, device: torch.device | str, dtype: torch.dtype) -> dict[str, Tensor]:
        """Return the cores (k, k) by layer name, computed on `device` in float32 or better, cast to `dtype`.

        Raises AdapterError for a core that is not finite in `dtype`.
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
        form = self.layout.form
        for group in self.layout.groups:
            together = max(1, CHUNK_BYTES // (4 * group.span**2))
            for first in range(0, len(group.names), together):
                some = slice(first, first + together)
                parts = {
                    part: _gather(numbers, group.begins[part][some], shape)
                    for part, shape in form.shapes(group.k).items()
                }
                positions = None if group.positions is None else group.positions[some]
                sigma = group.sigma[some].to(numbers.device)
                yield (
                    group.names[some],
                    stacked_cores(form, parts, sigma, positions=positions, start=group.start),
                )


def layout_of(data: bytes, metadata: AdapterMetadata) -> Layout:
    """Return the layout of a file that `load_adapter` has accepted, with its metadata."""
    length = int.from_bytes(data[:LENGTH_BYTES], "little")
    header = parse_header(data[LENGTH_BYTES : LENGTH_BYTES + length])
    form = metadata.form
    numbers = [entry for name, entry in header.tensors.items() if entry.dtype in FILE_DTYPES.values()]
    dtype = numbers[0].dtype
    itemsize = np.dtype(_DTYPES[dtype][0]).itemsize
    alike: dict[tuple[int, int], list[str]] = {}
    for name, entry in metadata.layers.items():
        alike.setdefault((entry.k, entry.start), []).append(name)

    def begins(names: Sequence[str], key: str) -> tuple[int, ...]:
        return tuple(header.tensors[f"{name}.{key}"].begin // itemsize for name in names)

    first = LENGTH_BYTES + length
    groups = tuple(
        _Group(
            k=k,
            start=start,
            names=tuple(names),
            begins={part: begins(names, form.key(part)) for part in form.shapes(k)},
            sigma=torch.from_numpy(
                np.stack([metadata.layers[name].fingerprint_values()[0] for name in names])
            ),
            positions=_positions(data[first:], header, form, names, k),
        )
        for (k, start), names in alike.items()
    )
    return Layout(form, dtype, first, max(entry.end for entry in numbers) // itemsize, groups)


def _positions(body: bytes, header: Header, form: CoreForm, names: Sequence[str], k: int) -> Tensor | None:
    """Return (L, entries), or None if not SVFT. Masks are read from the data part if the form has them."""
    if form.method != "svft":
        return None
    if form.map != "svft-top-k":
        return torch.stack([fixed_positions(form, name, k) for name in names])
    entries = [header.tensors[f"{name}.{MASK_KEY}"] for name in names]
    masks = [torch.frombuffer(bytearray(body[each.begin : each.end]), dtype=torch.uint8) for each in entries]
    return torch.stack([from_mask(mask, k, form.parameters(k)) for mask in masks])


def pack(data: bytes, layout: Layout, *, pinned: bool = False) -> PackedAdapter:
    """Copy the numbers out of a file's bytes. Pinned memory goes to a CUDA device twice as fast."""
    code, dtype = _DTYPES[layout.dtype]
    numbers = torch.empty(layout.count, dtype=dtype, pin_memory=pinned)
    numbers.numpy()[:] = np.frombuffer(data, dtype=code, count=layout.count, offset=layout.first_byte)
    return PackedAdapter(layout, numbers)


def check_cores(packed: PackedAdapter, dtype: torch.dtype, compression: Compression | None) -> None:
    """Raise AdapterError for a core that is not finite in `dtype`, or that the compression would spoil.

    Cores of half-precision numbers cannot overflow, so without compression these are not made.
    """
    if packed.layout.dtype == "F16" and compression is None:
        return
    cores = packed.expand("cpu", dtype)
    if compression is not None:
        for name, core in cores.items():
            compression.check(name, core)


def _gather(numbers: Tensor, begins: Sequence[int], shape: Sequence[int]) -> Tensor:
    """Return the stretches that begin at `begins`, as (L, *shape)."""
    size = math.prod(shape)
    return torch.stack([numbers[begin : begin + size].view(*shape) for begin in begins])
