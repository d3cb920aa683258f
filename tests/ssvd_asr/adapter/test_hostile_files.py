"""Adapter files made to mislead: each is refused with its reason, and costs at most the stated limits."""

from __future__ import annotations

import base64
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssvd_asr.adapter.read import AdapterFileLimits, LoadedAdapter, inspect_adapter, load_adapter
from ssvd_asr.errors import AdapterError
from tests.ssvd_asr.adapter_files import BASE, FACTORS, FILE, put_together, taken_apart


def edited(change: Callable[[dict[str, Any], bytearray], object]) -> bytes:
    header, body = taken_apart(FILE)
    data = bytearray(body)
    change(header, data)
    return put_together(header, bytes(data))


def edited_metadata(change: Callable[[dict[str, Any]], object]) -> bytes:
    header, body = taken_apart(FILE)
    metadata = json.loads(header["__metadata__"]["ssvd"])
    change(metadata)
    header["__metadata__"]["ssvd"] = json.dumps(metadata)
    return put_together(header, body)


def setting(field: str, value: Any) -> Callable[[dict[str, Any]], object]:
    return lambda metadata: metadata.update({field: value})


def layer_setting(field: str, value: Any) -> Callable[[dict[str, Any]], object]:
    return lambda metadata: metadata["layers"]["tall"].update({field: value})


def with_fingerprint(text: str) -> bytes:
    return edited_metadata(layer_setting("fingerprint", text))


def number(value: float, size: int = 18) -> str:
    return base64.b64encode(torch.full((size,), value, dtype=torch.float64).numpy().tobytes()).decode()


def add_tensor(header: dict[str, Any], data: bytearray) -> None:
    offsets = [len(data), len(data) + 2]
    header["more.skew"] = {"dtype": "F16", "shape": [1], "data_offsets": offsets}
    data.extend(b"\0\0")


def set_number(header: dict[str, Any], data: bytearray, bits: bytes) -> None:
    begin = header["wide.skew"]["data_offsets"][0]
    data[begin : begin + 2] = bits


_HEADER, _BODY = taken_apart(FILE)
_TEXT = json.dumps(_HEADER).encode()
_TALL = json.dumps({"tall.skew": _HEADER["tall.skew"]})[1:-1].encode()
HOSTILE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "0 bytes"),
    "seven bytes": (FILE[:7], "7 bytes"),
    "cut in the header": (FILE[:100], "ends inside its header"),
    "cut in the tensors": (FILE[:-1], "its header describes"),
    "bytes after the end": (FILE + b"\0", "its header describes"),
    "header of 2^63 bytes": (b"\xff" * 8 + FILE[8:], "max_header_bytes"),
    "not JSON": (put_together(b"{" * 10, b""), "not JSON"),
    "not UTF-8": (put_together(b'{"\xff": 1}', b""), "not JSON"),
    "a list": (put_together(b"[1, 2]", b""), "not a JSON object"),
    "endless nesting": (put_together(b"[" * 190_000, b""), "not JSON"),
    "many items": (put_together(b"[" + b"0," * 300_000 + b"0]", b""), "over the limit of 200000"),
    "a huge integer": (put_together(b'{"a": ' + b"9" * 5000 + b"}", b""), "not JSON"),
    "NaN in the header": (put_together(b'{"a": NaN}', b""), "NaN is not a number"),
    "a layer twice": (put_together(_TEXT[:-1] + b", " + _TALL + b"}", _BODY), "'tall.skew' is given twice"),
    "a pickle": (b"\x80\x04\x95" + b"\0" * 100, "max_header_bytes|ends inside"),
    "no metadata": (edited(lambda h, _: h.pop("__metadata__")), "not an SSVD adapter"),
    "metadata of another tool": (edited(lambda h, _: h["__metadata__"].update(format="pt")), "nothing else"),
    "metadata not strings": (edited(lambda h, _: h["__metadata__"].update(ssvd=3)), "table of strings"),
    "a tensor missing": (
        put_together({k: v for k, v in _HEADER.items() if k != "wide.skew"}, _BODY), "begins at byte|missing"
    ),
    "a tensor more": (
        edited(add_tensor),
        "'more.skew' belongs to no layer",
    ),
    "another shape": (edited(lambda h, _: h["wide.skew"].update(shape=[2, 5])), "has shape"),
    "a shape that does not fill": (edited(lambda h, _: h["wide.skew"].update(shape=[11])), "does not fill"),
    "a negative shape": (edited(lambda h, _: h["wide.skew"].update(shape=[-10])), "no count"),
    "a boolean shape": (edited(lambda h, _: h["wide.skew"].update(shape=[True])), "no count"),
    "a vast shape": (edited(lambda h, _: h["wide.skew"].update(shape=[2**62, 2**62])), "does not fill"),
    "overlapping tensors": (
        edited(lambda h, _: h["wide.skew"].update(data_offsets=h["square.skew"]["data_offsets"])),
        "begins at byte",
    ),
    "integers": (edited(lambda h, _: h["wide.skew"].update(dtype="I16")), "dtype 'I16'"),
    "bfloat16": (
        edited(lambda h, _: [h[name].update(dtype="BF16") for name in h if name != "__metadata__"]), "BF16"
    ),
    "mixed dtypes": (edited(lambda h, _: h["wide.skew"].update(dtype="BF16")), "BF16, F16"),
    "an unknown key": (edited(lambda h, _: h["wide.skew"].update(more=1)), "not described by"),
    "NaN": (edited(lambda h, d: set_number(h, d, b"\x00\x7e")), "'wide.skew' holds NaN"),
    "infinity": (edited(lambda h, d: set_number(h, d, b"\x00\x7c")), "'wide.skew' holds NaN or infinity"),
    "a later format": (edited_metadata(setting("format_version", 4)), "format version 4 is unknown"),
    "a second format without its fields": (
        edited_metadata(setting("format_version", 2)), "version 2 needs delta_sigma, off_diagonals"
    ),
    "a first format with the second's fields": (
        edited_metadata(setting("outer_rotation", False)), "none of version 2's"
    ),
    "a first format with a start": (edited_metadata(layer_setting("start", 0)), "none of version 2's"),
    "a first format with the second's maps": (
        edited_metadata(setting("rotation_map", "lora-xs")), "has no map 'lora-xs'"
    ),
    "octets": (edited(lambda h, _: h["wide.skew"].update(dtype="U8", shape=[20])), "shape|U8"),
    "a format that is true": (edited_metadata(setting("format_version", True)), "format version True"),
    "no format": (edited_metadata(lambda m: m.pop("format_version")), "format version None"),
    "another method": (edited_metadata(setting("method", "lora")), "'method'"),
    "another map": (edited_metadata(setting("rotation_map", "strict")), "'rotation_map'"),
    "a map of other tensors": (edited_metadata(setting("rotation_map", "free")), "missing"),
    "a field more": (edited_metadata(setting("comment", "x")), "'comment'"),
    "no layers": (edited_metadata(setting("layers", {})), "'layers'"),
    "a layer missing": (edited_metadata(lambda m: m["layers"].pop("tall")), "belongs to no layer"),
    "a layer more": (
        edited_metadata(lambda m: m["layers"].update(other=m["layers"]["tall"])),
        "'other.*' of the layer list",
    ),
    "k too large for the shape": (edited_metadata(layer_setting("k", 13)), "k=13"),
    "k of a billion": (edited_metadata(layer_setting("k", 10**9)), "layers.tall"),
    "k as text": (edited_metadata(layer_setting("k", "6")), "layers.tall.k"),
    "a fingerprint of another length": (with_fingerprint(number(1.0, 17)), "136 bytes"),
    "a fingerprint with NaN": (with_fingerprint(number(float("nan"))), "not finite"),
    "a fingerprint of zeros": (with_fingerprint(number(0.0)), "fall towards zero"),
    "a fingerprint that is no base64": (with_fingerprint("é!"), "base64"),
    "a canary without outputs": (
        edited_metadata(setting("canary", {"probe": "x", "outputs": {}, "tolerance": {}})), "canary.outputs"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE, ids=HOSTILE)
def test_hostile_files_are_refused_with_the_reason(case: str) -> None:
    data, message = HOSTILE[case]
    with pytest.raises(AdapterError, match=message):
        load_adapter(data)


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_no_damage_does_more_than_be_refused_or_change_numbers(data: st.DataObject) -> None:
    damaged = bytearray(FILE)
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(damaged) - 1))
        damaged[position] = data.draw(st.integers(0, 255))
    del damaged[data.draw(st.sampled_from([len(FILE), len(FILE) - 5, 3000, 50])) :]
    try:
        loaded = load_adapter(bytes(damaged), BASE, FACTORS)
    except AdapterError:
        return
    assert isinstance(loaded, LoadedAdapter)
    assert all(bool(torch.isfinite(tensor).all()) for tensor in loaded.adapter.state.values())


@pytest.mark.parametrize("claimed", [2**30, 2**63 - 1])
def test_a_claimed_size_allocates_nothing(claimed: int, tmp_path: Path) -> None:
    path = tmp_path / "bomb.safetensors"
    path.write_bytes(claimed.to_bytes(8, "little") + b"{}")
    for read in (load_adapter, inspect_adapter):
        tracemalloc.start()
        with pytest.raises(AdapterError, match="max_header_bytes"):
            read(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2**20


def test_a_large_file_is_read_no_further_than_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "large.safetensors"
    path.write_bytes(FILE + bytes(10**6))
    limits = AdapterFileLimits(max_file_bytes=10**5)
    for read in (load_adapter, inspect_adapter):
        tracemalloc.start()
        with pytest.raises(AdapterError, match="limit of 100000"):
            read(path, limits=limits)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 5 * 10**5
