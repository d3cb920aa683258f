"""Adapter files: what goes in comes out, and nothing else ever does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ssvd_asr.adapter.forms import MAPS, RotationMap
from ssvd_asr.adapter.read import AdapterFileLimits, inspect_adapter, load_adapter
from ssvd_asr.adapter.write import adapter_bytes, describe_adapter, save_adapter
from ssvd_asr.basis.factors import LayerFactors
from ssvd_asr.errors import AdapterError, WrongBaseError, WrongBasisError
from tests.ssvd_asr.adapter_files import BASE, FACTORS, FILE, TRAINING, file_bytes, taken_apart, trained
from tests.ssvd_asr.toy import Toy, ToyBase, toy_factors


@pytest.mark.parametrize("kind", MAPS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_saved_tensors_are_read_back_the_same(kind: RotationMap, dtype: str, tmp_path: Path) -> None:
    adapter = trained(kind)
    metadata = describe_adapter(adapter, BASE, FACTORS, training=TRAINING)
    path = tmp_path / "a.safetensors"
    sha256 = save_adapter(path, adapter, metadata=metadata, dtype=dtype)
    loaded = load_adapter(path, BASE, FACTORS)
    assert loaded.metadata == metadata == inspect_adapter(path)
    assert loaded.metadata.training == TRAINING
    assert loaded.sha256 == sha256
    assert loaded.adapter.rotation_map == kind
    assert loaded.adapter.ks == adapter.ks
    stored = {name: tensor.to(getattr(torch, dtype)) for name, tensor in adapter.state.items()}
    assert loaded.adapter.state.keys() == stored.keys()
    for name, tensor in loaded.adapter.state.items():
        assert torch.equal(tensor, stored[name].to(tensor.dtype)), name
    for name, sigma in loaded.adapter.sigmas.items():
        assert torch.equal(sigma, adapter.sigmas[name])


def test_saving_again_gives_the_same_bytes() -> None:
    loaded = load_adapter(FILE)
    assert adapter_bytes(loaded.adapter, metadata=loaded.metadata) == FILE == file_bytes()


def test_a_file_holds_the_trained_numbers_and_nothing_else() -> None:
    header, body = taken_apart(FILE)
    assert header.pop("__metadata__").keys() == {"ssvd"}
    assert header.keys() == {f"{name}.{part}" for name in FACTORS for part in ("skew", "delta_sigma")}
    assert len(body) == 2 * trained().parameter_count()


def test_inspecting_imports_no_torch(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(FILE)
    code = (
        "import sys; from ssvd_asr.adapter.read import inspect_adapter; "
        f"assert inspect_adapter({str(path)!r}).base_name == 'toy'; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_adapter_made_for_another_base_is_refused() -> None:
    other = ToyBase(Toy(seed=1), digest="sha256:other", name="other")
    with pytest.raises(WrongBaseError, match=r"'toy' \(sha256:toy\).*'other' \(sha256:other\)"):
        load_adapter(FILE, other)


def test_another_basis_is_refused_though_the_digest_matches() -> None:
    factors = dict(FACTORS)
    wide = factors["wide"]
    signs = torch.ones(10, dtype=torch.float64)
    signs[2] = -1
    factors["wide"] = LayerFactors(wide.u * signs, wide.s, wide.vh * signs[:, None], wide.cut)
    with pytest.raises(WrongBasisError, match=r"'wide'.*direction 2"):
        load_adapter(FILE, BASE, factors)
    with pytest.raises(WrongBasisError):
        load_adapter(FILE, BASE, toy_factors(Toy(seed=1)))


def test_a_layer_the_base_has_not_is_refused() -> None:
    with pytest.raises(AdapterError, match="no linear of base"):
        load_adapter(FILE, ToyBase(torch.nn.Linear(3, 3)))
    with pytest.raises(AdapterError, match="has no factors"):
        load_adapter(FILE, None, {"tall": FACTORS["tall"]})


def test_a_layer_of_another_shape_is_refused() -> None:
    model = Toy()
    model.wide = torch.nn.Linear(16, 11)
    with pytest.raises(AdapterError, match=r"'wide' is 11 x 16 in the base, 10 x 16"):
        load_adapter(FILE, ToyBase(model))
    with pytest.raises(AdapterError, match="'wide'"):
        load_adapter(FILE, None, {**FACTORS, "wide": FACTORS["tall"]})


def test_writing_keeps_to_the_limits_of_reading(tmp_path: Path) -> None:
    adapter = trained()
    metadata = describe_adapter(adapter, BASE, FACTORS)
    for limits in (AdapterFileLimits(max_header_bytes=1000), AdapterFileLimits(max_file_bytes=1000)):
        with pytest.raises(AdapterError, match="limit of 1000"):
            save_adapter(tmp_path / "a.safetensors", adapter, metadata=metadata, limits=limits)
    assert list(tmp_path.iterdir()) == []


def test_numbers_that_half_precision_cannot_hold_are_refused() -> None:
    adapter = trained()
    with torch.no_grad():
        adapter.delta_sigma["6"][0, 0] = 1e5
    metadata = describe_adapter(adapter, BASE, FACTORS)
    with pytest.raises(AdapterError, match=r"tall\.delta_sigma.*not finite in float16"):
        adapter_bytes(adapter, metadata=metadata)
    assert load_adapter(adapter_bytes(adapter, metadata=metadata, dtype="float32"))


def test_metadata_of_another_adapter_is_refused() -> None:
    metadata = describe_adapter(trained("cayley"), BASE, FACTORS)
    with pytest.raises(AdapterError, match="another adapter"):
        adapter_bytes(trained("first-order"), metadata=metadata)
    with pytest.raises(AdapterError, match="'bfloat16' is not one of"):
        adapter_bytes(trained("cayley"), metadata=metadata, dtype="bfloat16")


@pytest.mark.parametrize("summary", [{"wer": float("nan")}, {"path": Path("x")}])
def test_a_training_summary_that_json_cannot_hold_is_refused(summary: dict[str, object]) -> None:
    with pytest.raises(AdapterError, match="not JSON"):
        describe_adapter(trained(), BASE, FACTORS, training=summary)


def test_a_crash_while_writing_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(FILE)

    def crash(*_: object) -> None:
        raise OSError("disk is full")

    monkeypatch.setattr("os.replace", crash)
    adapter = trained(seed=1)
    with pytest.raises(OSError, match="disk is full"):
        save_adapter(path, adapter, metadata=describe_adapter(adapter, BASE, FACTORS))
    assert path.read_bytes() == FILE
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_file_is_an_adapter_error_that_names_it(tmp_path: Path) -> None:
    for read in (load_adapter, inspect_adapter):
        with pytest.raises(AdapterError, match="nowhere"):
            read(tmp_path / "nowhere")
        with pytest.raises(AdapterError, match="cannot be read"):
            read(tmp_path)
