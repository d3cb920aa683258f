"""Files of every form: read back the same, of the lowest version that can say them, as hard to forge."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import adapters_store
from ssvd_asr.adapter.read import AdapterFileLimits, inspect_adapter, load_adapter
from ssvd_asr.adapter.write import adapter_bytes, describe_adapter
from ssvd_asr.errors import AdapterError, WrongBasisError
from tests.ssvd_asr.adapter_files import BASE, put_together, taken_apart
from tests.ssvd_asr.forms import FACTORS, FORMS, SECOND, trained

BUILTIN = sorted((Path(adapters_store.__file__).parent / "builtin").glob("*/adapter.safetensors"))
FIRST_FIELDS = {
    "format_version", "method", "rotation_map", "p", "base_name", "base_digest", "layers", "canary",
    "training", "created_with",
}  # fmt: skip


def file_of(name: str, dtype: str = "float16") -> bytes:
    adapter = trained(name)
    if dtype == "float64":
        adapter.double()
    return adapter_bytes(adapter, metadata=describe_adapter(adapter, BASE, FACTORS), dtype=dtype)


FILES = {name: file_of(name) for name in FORMS}


@dataclass
class Opened:
    """A file taken apart, to be changed."""

    tensors: dict[str, Any]  # the header without its metadata
    metadata: dict[str, Any]
    data: bytearray

    @property
    def first(self) -> dict[str, Any]:
        """The entry of the tensor whose bytes stand first."""
        found: dict[str, Any] = min(self.tensors.values(), key=lambda entry: entry["data_offsets"])
        return found

    @property
    def tall(self) -> dict[str, Any]:
        """A layer's entry."""
        entry: dict[str, Any] = self.metadata["layers"]["tall"]
        return entry


Change = Callable[[Opened], object]


def edited(name: str, change: Change) -> bytes:
    header, body = taken_apart(FILES[name])
    metadata = json.loads(header.pop("__metadata__")["ssvd"])
    opened = Opened(header, metadata, bytearray(body))
    change(opened)
    whole = {"__metadata__": {"ssvd": json.dumps(opened.metadata)}, **opened.tensors}
    return put_together(whole, bytes(opened.data))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("name", list(FORMS))
def test_a_file_gives_the_same_cores_back(name: str, dtype: str) -> None:
    data = file_of(name, dtype)
    loaded = load_adapter(data, BASE, FACTORS)
    expected = trained(name)
    if dtype == "float64":
        expected.double()
    rounded = {key: tensor.to(getattr(torch, dtype)) for key, tensor in expected.state.items()}
    expected.load_state(rounded)
    assert (loaded.adapter.form, loaded.adapter.spans) == (expected.form, expected.spans)
    cores = loaded.adapter.cores()
    for layer, core in expected.cores().items():
        assert torch.equal(cores[layer], core), layer
    assert adapter_bytes(loaded.adapter, metadata=loaded.metadata, dtype=dtype) == data


@pytest.mark.parametrize("name", list(FORMS))
def test_what_version_1_can_say_is_written_as_version_1(name: str) -> None:
    header, _ = taken_apart(FILES[name])
    metadata = json.loads(header["__metadata__"]["ssvd"])
    assert metadata["format_version"] == (2 if name in SECOND else 1)
    assert (metadata.keys() == FIRST_FIELDS) == (name not in SECOND)
    assert all(("start" in entry) == (name in SECOND) for entry in metadata["layers"].values())


@pytest.mark.parametrize("path", BUILTIN, ids=lambda path: path.parent.name)
def test_files_of_the_first_version_are_read_and_written_byte_for_byte(path: Path) -> None:
    loaded = load_adapter(path)
    assert loaded.metadata.format_version == 1
    assert adapter_bytes(loaded.adapter, metadata=loaded.metadata) == path.read_bytes()


def test_there_are_files_of_the_first_version() -> None:
    assert len(BUILTIN) >= 2


def drop_tensor(file: Opened) -> None:
    """The last one, and its bytes."""
    last = max(file.tensors, key=lambda name: file.tensors[name]["data_offsets"])
    del file.data[file.tensors.pop(last)["data_offsets"][0] :]


def add_tensor(file: Opened) -> None:
    end = len(file.data)
    file.tensors["more.values"] = {"dtype": "F16", "shape": [1], "data_offsets": [end, end + 2]}
    file.data.extend(b"\0\0")


def set_nan(file: Opened) -> None:
    file.data[:2] = b"\x00\x7e"


def octets(file: Opened) -> None:
    begin, end = file.first["data_offsets"]
    file.first.update(dtype="U8", shape=[end - begin])


ANY_FORM: dict[str, tuple[Change, str]] = {
    "a tensor missing": (drop_tensor, "missing"),
    "a tensor more": (add_tensor, "belongs to no layer"),
    "NaN": (set_nan, "holds NaN"),
    "bytes after the end": (lambda f: f.data.extend(b"\0"), "its header describes"),
    "the numbers as octets": (octets, "has shape"),
    "another shape": (lambda f: f.first.update(shape=[1, *f.first["shape"]][:3]), "has shape|has 3 dim"),
    "the first version": (lambda f: f.metadata.update(format_version=1), "SSVD's three maps alone"),
    "a fourth version": (lambda f: f.metadata.update(format_version=4), "version 4 is unknown"),
    "a third without voices": (lambda f: f.metadata.update(format_version=3), "summary of voices"),
    "a field missing": (lambda f: f.metadata.pop("outer_rotation"), "needs outer_rotation"),
    "another method": (lambda f: f.metadata.update(method="lora"), "'method'"),
    "a method of other maps": (
        lambda f: f.metadata.update(method="svft" if f.metadata["method"] != "svft" else "ssvd"), "has no map"
    ),
    "a map of other tensors": (
        lambda f: f.metadata.update(
            rotation_map="free", method="ssvd", outer_rotation=False, delta_sigma=True, off_diagonals=0
        ),
        "missing",
    ),
    "a band on a rotation": (
        lambda f: f.metadata.update(rotation_map="cayley", method="ssvd", off_diagonals=2), "off_diagonals=2"
    ),
    "a truth that is a number": (lambda f: f.metadata.update(delta_sigma=1), "'delta_sigma'"),
    "a start below 0": (lambda f: f.tall.update(start=-1), "layers.tall.start"),
    "a start too far": (lambda f: f.tall.update(start=12), r"min\(out, in\)"),
    "no start at all": (lambda f: f.tall.update(start=None), "layers.tall.start"),
    "k of a billion": (lambda f: f.tall.update(k=10**9), "layers.tall"),
    "uncountable diagonals": (lambda f: f.metadata.update(off_diagonals=10**12), "off_diagonals"),
}  # fmt: skip


@pytest.mark.parametrize("case", list(ANY_FORM))
@pytest.mark.parametrize("name", SECOND)
def test_a_forged_file_of_any_form_is_refused_with_the_reason(name: str, case: str) -> None:
    change, message = ANY_FORM[case]
    with pytest.raises(AdapterError, match=message):
        load_adapter(edited(name, change))


def one_bit_less(file: Opened) -> None:
    begin, end = file.tensors["tall.mask"]["data_offsets"]
    place = next(i for i in range(begin, end) if file.data[i])
    file.data[place] &= file.data[place] - 1


def masks_first(file: Opened) -> None:
    """Numbers and masks change places."""
    masks = sorted(entry["data_offsets"] for name, entry in file.tensors.items() if name.endswith(".mask"))
    begin, size = masks[0][0], masks[-1][1] - masks[0][0]
    file.data[:] = file.data[begin:] + file.data[:begin]
    for name, entry in file.tensors.items():
        by = -begin if name.endswith(".mask") else size
        entry["data_offsets"] = [offset + by for offset in entry["data_offsets"]]


@pytest.mark.parametrize(
    ("change", "message"), [(one_bit_less, "mask of"), (masks_first, "after all numbers")]
)
def test_a_mask_that_is_not_of_its_layer_is_refused(change: Change, message: str) -> None:
    with pytest.raises(AdapterError, match=message):
        load_adapter(edited("svft-top-k", change))


def test_directions_moved_within_the_basis_are_another_basis() -> None:
    moved = edited("tail", lambda f: f.tall.update(start=2))
    assert load_adapter(moved, BASE)  # as good as any where there is nothing to compare with
    with pytest.raises(WrongBasisError, match="'tall'"):
        load_adapter(moved, BASE, FACTORS)


@pytest.mark.parametrize("name", ["svft-plain", "tail"])
def test_a_small_file_of_large_cores_is_refused_before_anything_is_expanded(
    name: str, tmp_path: Path
) -> None:
    limits = AdapterFileLimits(max_core_numbers=12 * 12 + 10 * 10 + 10 * 10 - 1)
    path = tmp_path / "a"
    path.write_bytes(FILES[name])
    for read in (load_adapter, inspect_adapter):
        with pytest.raises(AdapterError, match="cores of 344 numbers are over the limit of 343"):
            read(path, limits=limits)
    assert load_adapter(path, limits=AdapterFileLimits(max_core_numbers=344))


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(SECOND), st.data())
def test_no_damage_does_more_than_be_refused_or_change_numbers(name: str, data: st.DataObject) -> None:
    damaged = bytearray(FILES[name])
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        loaded = load_adapter(bytes(damaged), BASE, FACTORS)
    except AdapterError:
        return
    assert all(bool(torch.isfinite(core).all()) for core in loaded.adapter.cores(torch.float64).values())
