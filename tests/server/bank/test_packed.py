"""A packed adapter is the file's numbers, and its cores are those that the library makes of the file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from server.bank import packed
from server.bank.packed import PackedAdapter, layout_of, pack
from ssvd_asr.adapter.adapter import Adapter
from ssvd_asr.adapter.forms import MAPS, RotationMap
from ssvd_asr.adapter.read import load_adapter
from ssvd_asr.adapter.write import describe_adapter, save_adapter
from ssvd_asr.basis.factors import canonical_svd
from ssvd_asr.errors import AdapterError
from tests.server.fakes import FakeBase
from tests.ssvd_asr.adapter.test_form_files import file_of
from tests.ssvd_asr.forms import SECOND

SHAPES = {"a.wide": (6, 12), "a.tall": (12, 6), "b.square": (10, 10), "b.again": (10, 10)}


def write(path: Path, rotation_map: RotationMap, dtype: str = "float16", scale: float = 0.3) -> bytes:
    generator = torch.Generator().manual_seed(1)
    factors = {
        name: canonical_svd(torch.randn(shape, generator=generator, dtype=torch.float64))
        for name, shape in SHAPES.items()
    }
    adapter = Adapter.new(factors, p=0.7, rotation_map=rotation_map, overrides={"b.again": 3})
    if dtype == "float64":
        adapter.double()
    with torch.no_grad():
        for parameter in adapter.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_(scale * noise)
    save_adapter(path, adapter, metadata=describe_adapter(adapter, FakeBase(), factors), dtype=dtype)
    return path.read_bytes()


def packed_of(data: bytes) -> PackedAdapter:
    return pack(data, layout_of(data, load_adapter(data).metadata))


@pytest.fixture(params=[1, 2**20])
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """One layer at a time, or all of one k together."""
    monkeypatch.setattr(packed, "CHUNK_BYTES", request.param)


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize("rotation_map", MAPS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_expanding_gives_the_library_s_cores_to_the_bit(
    tmp_path: Path, rotation_map: RotationMap, dtype: str
) -> None:
    data = write(tmp_path / "a", rotation_map, dtype)
    cores = packed_of(data).expand("cpu", torch.float32)
    expected = load_adapter(data).adapter.cores(torch.float32)
    assert cores.keys() == expected.keys() == SHAPES.keys()
    for name, core in cores.items():
        assert torch.equal(core, expected[name].detach()), name


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize("name", SECOND)
@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_every_other_form_expands_to_the_library_s_cores_too(name: str, dtype: str) -> None:
    data = file_of(name, dtype)
    half = packed_of(data)
    expected = load_adapter(data).adapter
    cores = half.expand("cpu", torch.float32)
    assert half.ks == expected.spans  # what a slot must hold
    for layer, core in expected.cores(torch.float32).items():
        assert torch.equal(cores[layer], core.detach()), layer


def test_packed_it_takes_a_quarter_of_dense_cores(tmp_path: Path) -> None:
    half = packed_of(write(tmp_path / "a", "first-order"))
    numbers = sum(k * (k - 1) // 2 + k for k in half.ks.values())
    assert half.numbers.nbytes == 2 * numbers
    assert half.nbytes == 2 * numbers + 8 * sum(half.ks.values())  # and the singular values
    assert half.ks == {"a.wide": 4, "a.tall": 4, "b.square": 7, "b.again": 3}


def test_a_file_in_full_precision_is_not_rounded(tmp_path: Path) -> None:
    assert packed_of(write(tmp_path / "a", "cayley", "float32")).numbers.dtype == torch.float32


def test_a_core_that_is_not_finite_on_the_device_is_refused_by_name(tmp_path: Path) -> None:
    huge = packed_of(write(tmp_path / "a", "free", "float64", scale=1e200))
    with pytest.raises(AdapterError, match=r"layer 'a\.\w+': its core is not finite in torch.bfloat16"):
        huge.expand("cpu", torch.bfloat16)
