"""The blend of packed adapters has, to the bit, the numbers and cores of the blend's own file."""

from __future__ import annotations

import pytest
import torch

from server.bank.blended import blended
from server.bank.packed import PackedAdapter, layout_of, pack
from ssvd_asr.adapter.adapter import Adapter
from ssvd_asr.adapter.blend import blend_adapters
from ssvd_asr.adapter.forms import CoreForm
from ssvd_asr.adapter.read import inspect_adapter
from ssvd_asr.adapter.write import adapter_bytes, describe_adapter
from ssvd_asr.basis.factors import canonical_svd
from ssvd_asr.errors import BlendFormError
from tests.server.fakes import FakeBase

FACTORS = {
    name: canonical_svd(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)))
    for seed, (name, shape) in enumerate({"a": (9, 7), "b": (6, 8), "c": (9, 7)}.items())
}
FORMS = (
    CoreForm(),
    CoreForm("cayley"),
    CoreForm("free", outer=True),
    CoreForm("lora-xs"),
    CoreForm("svft-top-k", off_diagonals=1),
)


def trained(seed: int, form: CoreForm, k: int = 4) -> Adapter:
    adapter = Adapter.new(FACTORS, k=k, rotation_map=form, overrides={"b": 3})
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator).half())
    return adapter


def packed(adapter: Adapter, dtype: str = "float16") -> PackedAdapter:
    metadata = describe_adapter(adapter, FakeBase(), FACTORS)
    data = adapter_bytes(adapter, metadata=metadata, dtype=dtype)
    return pack(data, layout_of(data, inspect_adapter(data)))


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_a_blend_in_memory_is_its_file_to_the_bit(form: CoreForm) -> None:
    parts, weights, names = (
        [trained(1, form), trained(2, form), trained(3, form)],
        [0.7, 1.3, 0.05],
        list("xyz"),
    )
    made = blended([packed(part) for part in parts], weights, names)
    file = packed(blend_adapters(parts, weights, names, torch.float16))
    assert torch.equal(made.numbers, file.numbers)
    wanted = file.expand("cpu", torch.float32)
    found = made.expand("cpu", torch.float32)
    assert found.keys() == wanted.keys()
    assert all(torch.equal(core, wanted[name]) for name, core in found.items())
    assert made.nbytes == file.nbytes, "a blend takes no more memory than a domain"


def test_the_widest_format_of_the_parts_is_kept() -> None:
    form = CoreForm()
    made = blended([packed(trained(1, form)), packed(trained(2, form), "float32")], [0.3, 0.3], list("xy"))
    assert (made.numbers.dtype, made.layout.dtype) == (torch.float32, "F32")
    wanted = blend_adapters(
        [trained(1, form), trained(2, form)], [0.3, 0.3], list("xy"), torch.float32
    ).cores()
    assert all(torch.equal(core, wanted[name]) for name, core in made.expand("cpu", torch.float32).items())


def test_parts_of_different_forms_are_refused() -> None:
    with pytest.raises(BlendFormError, match="x and y cannot be blended: in layer 'a'"):
        blended([packed(trained(1, CoreForm())), packed(trained(2, CoreForm(), k=2))], [1, 1], list("xy"))
