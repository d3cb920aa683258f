"""A blend is the weighted sum of trained numbers, of one form only, in whatever order it is written."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from ssvd_asr.adapter.adapter import Adapter
from ssvd_asr.adapter.blend import blend_adapters, weighted_sum
from ssvd_asr.adapter.forms import CoreForm
from ssvd_asr.basis.factors import canonical_svd
from ssvd_asr.errors import BlendFormError

FACTORS = {
    name: canonical_svd(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)))
    for seed, (name, shape) in enumerate({"a": (9, 7), "b": (6, 8)}.items())
}
PLAIN = CoreForm()
NAMES = ["child@2", "scottish@1"]
FORMS = (CoreForm(), CoreForm("cayley", outer=True), CoreForm("free", delta_sigma=False), CoreForm("lora-xs"),
         CoreForm("svft-random", off_diagonals=1), CoreForm("svft-top-k", off_diagonals=1))  # fmt: skip


def trained(seed: int, form: CoreForm = PLAIN, **how: object) -> Adapter:
    adapter = Adapter.new(FACTORS, rotation_map=form, **{"k": 4, **how})  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator).half())
    return adapter


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_every_number_is_the_weighted_sum_of_the_parts(form: CoreForm) -> None:
    one, two = trained(1, form), trained(2, form)
    both = blend_adapters([one, two], [0.8, -0.25], NAMES, torch.float32)
    assert both.state.keys() == one.state.keys()
    for key, numbers in both.state.items():
        torch.testing.assert_close(numbers, 0.8 * one.state[key] - 0.25 * two.state[key])
    assert both.form == form
    assert both.cores().keys() == FACTORS.keys()


def test_a_whole_part_alone_is_itself_to_the_bit() -> None:
    one = trained(1)
    same = blend_adapters([one], [1.0], NAMES[:1], torch.float16)
    assert all(torch.equal(same.state[key], numbers) for key, numbers in one.state.items())
    assert all(torch.equal(same.cores()[name], core) for name, core in one.cores().items())


def test_numbers_are_rounded_as_the_file_will_hold_them() -> None:
    both = blend_adapters([trained(1), trained(2)], [0.3, 0.7], NAMES, torch.float16)
    assert all(torch.equal(each, each.half().float()) for each in both.state.values())


def test_a_number_that_overflows_is_refused() -> None:
    with pytest.raises(BlendFormError, match=r"not finite in torch\.float16"):
        weighted_sum([torch.full((2,), 60_000.0)] * 2, [1.0, 1.0], torch.float16)


def without_a_layer(seed: int) -> Adapter:
    return trained(seed, layers=["a"])


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (lambda: trained(2, CoreForm("cayley")), "one is first-order, the other cayley"),
        (lambda: trained(2, CoreForm(outer=True)), "the other first-order with an outer rotation"),
        (lambda: trained(2, CoreForm(delta_sigma=False)), "the other first-order without delta_sigma"),
        (lambda: trained(2, k=3), "in layer 'a' one changes 4 directions from 0 on, the other 3 from 0 on"),
        (lambda: trained(2, directions="tail"), "the other 4 from 3 on"),
        (lambda: without_a_layer(2), "layer 'b' is in one of them only"),
    ],
)
def test_parts_of_different_forms_are_refused_with_the_difference(other: object, words: str) -> None:
    with pytest.raises(BlendFormError, match="child@2 and scottish@1 cannot be blended:.*" + words):
        blend_adapters([trained(1), other()], [0.5, 0.5], NAMES, torch.float16)  # type: ignore[operator]


def test_entries_in_other_places_are_refused() -> None:
    form = CoreForm("svft-top-k", off_diagonals=1)
    turned = {
        name: replace(each, u=each.u.roll(1, 0), vh=each.vh.roll(1, 1)) for name, each in FACTORS.items()
    }
    other = Adapter.new(turned, k=4, rotation_map=form)
    with pytest.raises(BlendFormError, match="entries are in other places"):
        blend_adapters([trained(1, form), other], [0.5, 0.5], NAMES, torch.float16)
