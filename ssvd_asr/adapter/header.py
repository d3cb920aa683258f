"""Parser for the header of an untrusted safetensors file. Imports no torch.

A file holds the header's length (8 bytes, little-endian uint64), the header (JSON) and the tensors' bytes.
Format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from ssvd_asr.errors import AdapterError

LENGTH_BYTES = 8
MAX_ITEMS = 200_000  # a 1B model's adapter has about 8,000
MAX_DIMENSIONS = 2
ITEM_BYTES = {"U8": 1, "F16": 2, "BF16": 2, "F32": 4, "F64": 8}


@dataclass(frozen=True)
class TensorEntry:
    """One tensor as the header describes it: `end - begin` bytes from `begin` in the data part."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class Header:
    """A checked header: the tensors fill the data part exactly, without holes or overlaps."""

    tensors: dict[str, TensorEntry]
    metadata: dict[str, str]
    data_bytes: int


def header_length(start: bytes, max_header_bytes: int) -> int:
    """Return the header's length in bytes, read from the file's first 8 bytes.

    Raises AdapterError where there are fewer than 8 bytes, or the length is over the limit.
    """
    if len(start) < LENGTH_BYTES:
        raise AdapterError(f"not an adapter file: {len(start)} bytes, shorter than a safetensors header")
    length = int.from_bytes(start[:LENGTH_BYTES], "little")
    if length > max_header_bytes:
        raise AdapterError(
            f"not an adapter file, or a damaged one: its first {LENGTH_BYTES} bytes ask for a header "
            f"of {length} bytes, over the limit of {max_header_bytes} (max_header_bytes)"
        )
    return length


def parse_header(text: bytes) -> Header:
    """Read and check a header.

    Raises AdapterError for anything but UTF-8 JSON in safetensors' own layout with dtypes of ITEM_BYTES. That
    includes duplicate keys, NaN, endless nesting, impossible sizes, and offsets with holes or overlaps.
    """
    items = text.count(b",") + text.count(b"[") + text.count(b"{")
    if items > MAX_ITEMS:  # a parsed item takes far more memory than its byte or two of text
        raise AdapterError(f"header of about {items} items is over the limit of {MAX_ITEMS}")
    raw = parse_json(text, "header")
    metadata = raw.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise AdapterError("header: __metadata__ is not a table of strings")
    tensors = {name: _entry(name, value) for name, value in raw.items()}
    position = 0
    for name, entry in sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)):
        if entry.begin != position:
            raise AdapterError(f"header: tensor {name!r} begins at byte {entry.begin}, expected {position}")
        position = entry.end
    return Header(tensors, metadata, position)


def parse_json(text: bytes | str, what: str) -> dict[str, Any]:
    """Parse one JSON object without duplicate keys, NaN or infinity. Raises AdapterError naming `what`."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        table = dict(pairs)
        if len(table) != len(pairs):
            seen: set[str] = set()
            twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
            raise AdapterError(f"{what}: key {twice[:80]!r} is given twice")
        return table

    def no_constant(constant: str) -> None:
        raise AdapterError(f"{what}: {constant} is not a number")

    try:
        value = json.loads(text, object_pairs_hook=unique, parse_constant=no_constant)
    except AdapterError:
        raise
    except (ValueError, RecursionError) as error:  # bad UTF-8, bad JSON, huge integers, endless nesting
        raise AdapterError(f"{what} is not JSON: {type(error).__name__}: {str(error)[:120]}") from error
    if not isinstance(value, dict):
        raise AdapterError(f"{what} is not a JSON object")
    return value


def _entry(name: str, value: Any) -> TensorEntry:
    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data_offsets"}:
        raise AdapterError(f"header: tensor {name[:80]!r} is not described by dtype, shape and data_offsets")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        raise AdapterError(
            f"header: tensor {name[:80]!r} has dtype {dtype!r}; one of {', '.join(ITEM_BYTES)}"
        )
    for numbers in (shape, offsets):
        if not isinstance(numbers, list) or not all(
            type(number) is int and number >= 0 for number in numbers
        ):
            raise AdapterError(f"header: tensor {name[:80]!r} has a shape or offset that is no count")
    if len(shape) > MAX_DIMENSIONS:
        raise AdapterError(
            f"header: tensor {name[:80]!r} has {len(shape)} dimensions, an adapter's have at most "
            f"{MAX_DIMENSIONS}: whole weights are scored by `ssvd evaluate --weights`, and made a base of "
            "their own by `ssvd adapters merge`"
        )
    if len(offsets) != 2 or offsets[1] - offsets[0] != math.prod(shape) * ITEM_BYTES[dtype]:
        raise AdapterError(f"header: tensor {name[:80]!r} of shape {shape} does not fill its bytes {offsets}")
    return TensorEntry(dtype, tuple(shape), offsets[0], offsets[1])
