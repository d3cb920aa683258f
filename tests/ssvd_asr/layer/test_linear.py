"""The adapted linear against a dense float64 W' = U (S + dS) G V^T."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from ssvd_asr.adapter.forms import rotation_shape
from ssvd_asr.adapter.rotation import MAPS, RotationMap, core, rotation_delta
from ssvd_asr.basis.factors import canonical_svd
from ssvd_asr.errors import AdapterError
from ssvd_asr.layer import packed_linear as packed_linear_module
from ssvd_asr.layer.linear import AdaptedLinear
from ssvd_asr.layer.packed_linear import packed_linear
from ssvd_asr.layer.tall_linear import tall_linear

SHAPES = [(24, 9), (14, 14), (9, 24)]  # (out, in): tall, square, wide


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def adapted_linear(shape: tuple[int, int], dtype: torch.dtype = torch.float64) -> AdaptedLinear:
    linear = nn.Linear(shape[1], shape[0], dtype=dtype)
    with torch.no_grad():
        linear.weight.copy_(torch.randn(shape, generator=seeded(1)))
    return AdaptedLinear(linear, canonical_svd(linear.weight))


def numbers(kind: RotationMap, k: int, seed: int = 2) -> tuple[Tensor, Tensor]:
    generator = seeded(seed)
    rotation = 0.2 * torch.randn(rotation_shape(kind, k), generator=generator, dtype=torch.float64)
    return rotation_delta(kind, rotation), 0.3 * torch.randn(k, generator=generator, dtype=torch.float64)


def dense_reference(weight: Tensor, delta: Tensor, delta_sigma: Tensor) -> Tensor:
    """The paper's formula, whole: U (S + diag(dS, 0)) blockdiag(G, I) V^T."""
    factors = canonical_svd(weight)
    r, k = factors.rank, delta_sigma.shape[0]
    changed = factors.s.clone()
    changed[:k] += delta_sigma
    g = torch.eye(r, dtype=torch.float64)
    g[:k, :k] += delta
    return factors.u @ torch.diag(changed) @ g @ factors.vh


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", MAPS)
@pytest.mark.parametrize("k", [1, 4, 9])
def test_it_is_the_papers_dense_weight_for_tall_square_and_wide(
    shape: tuple[int, int], kind: RotationMap, k: int
) -> None:
    layer = adapted_linear(shape)
    delta, delta_sigma = numbers(kind, k)
    layer.core = core(canonical_svd(layer.weight).s[:k], delta, delta_sigma)
    reference = dense_reference(layer.weight.detach(), delta, delta_sigma)
    x = torch.randn(3, 5, shape[1], generator=seeded(4), dtype=torch.float64)
    assert torch.allclose(layer(x), nn.functional.linear(x, reference, layer.bias), atol=1e-12)
    assert torch.allclose(layer.merged_weight(), reference, atol=1e-12)


@pytest.mark.parametrize(("vectors", "built"), [(3, 0), (4000, 1)])
def test_many_vectors_without_gradients_pass_by_one_merged_weight(
    vectors: int, built: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = adapted_linear((256, 192))
    layer.core = 0.1 * torch.randn(100, 100, generator=seeded(5), dtype=torch.float64)
    x = torch.randn(vectors, 192, generator=seeded(4), dtype=torch.float64)
    by_basis = layer(x)  # with gradients
    calls: list[Tensor] = []
    merge = layer.merge
    monkeypatch.setattr(layer, "merge", lambda core: calls.append(core) or merge(core))
    with torch.no_grad():
        assert torch.allclose(layer(x), by_basis, atol=1e-12)
    assert len(calls) == built


@pytest.mark.parametrize("shape", SHAPES)
def test_float32_stays_within_rounding_of_the_dense_reference(shape: tuple[int, int]) -> None:
    layer = adapted_linear(shape, torch.float32)
    delta, delta_sigma = numbers("cayley", 6)
    layer.core = core(canonical_svd(layer.weight).s[:6], delta, delta_sigma).float()
    reference = dense_reference(layer.weight.detach(), delta, delta_sigma)
    x = torch.randn(50, shape[1], generator=seeded(4))
    expected = nn.functional.linear(x.double(), reference, layer.linear.bias.detach().double())
    assert float((layer(x).detach().double() - expected).norm() / expected.norm()) < 1e-6


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("autocast", [False, True])
def test_a_zero_core_is_exactly_the_plain_layer(
    shape: tuple[int, int], dtype: torch.dtype, autocast: bool
) -> None:
    layer = adapted_linear(shape, dtype)
    x = torch.randn(3, 5, shape[1], generator=seeded(5)).to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        plain = layer.linear(x)
        assert torch.equal(layer(x), plain)
        layer.core = torch.zeros(7, 7)
        assert torch.equal(layer(x), plain)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("middle", [(), (5,), (2, 3)])
def test_each_row_follows_its_own_core(shape: tuple[int, int], middle: tuple[int, ...]) -> None:
    layer = adapted_linear(shape)
    cores = torch.randn(4, 6, 6, generator=seeded(6), dtype=torch.float64)
    cores[2] = 0.0
    x = torch.randn(4, *middle, shape[1], generator=seeded(7), dtype=torch.float64)
    layer.core = cores
    together = layer(x)
    for row in range(4):
        layer.core = cores[row]
        assert torch.allclose(together[row], layer(x[row]), atol=1e-12)
    assert torch.equal(together[2], layer.linear(x)[2])


def test_cores_padded_with_zeros_to_a_common_k_are_the_same() -> None:
    layer = adapted_linear((14, 14))
    small = torch.randn(4, 4, generator=seeded(8), dtype=torch.float64)
    x = torch.randn(3, 14, generator=seeded(9), dtype=torch.float64)
    layer.core = small
    expected = layer(x)
    layer.core = nn.functional.pad(small, (0, 5, 0, 5))
    assert torch.allclose(layer(x), expected, atol=1e-13)


def test_it_wraps_the_same_linear_and_has_nothing_to_train_or_save_of_its_own() -> None:
    linear = nn.Linear(9, 24)
    layer = AdaptedLinear(linear, canonical_svd(linear.weight))
    assert layer.linear is linear
    assert layer.weight is linear.weight
    assert {id(p) for p in layer.parameters()} == {id(p) for p in linear.parameters()}
    assert set(layer.state_dict()) == {"linear.weight", "linear.bias"}


def test_a_limited_rank_holds_only_those_directions() -> None:
    linear = nn.Linear(24, 9, dtype=torch.float64)
    factors = canonical_svd(linear.weight)
    full, limited = AdaptedLinear(linear, factors), AdaptedLinear(linear, factors, rank=3)
    assert limited.ut.shape == (3, 9)
    assert limited.vh.shape == (3, 24)
    full.core = limited.core = torch.randn(3, 3, dtype=torch.float64)
    x = torch.randn(2, 24, dtype=torch.float64)
    assert torch.equal(full(x), limited(x))
    with pytest.raises(AdapterError, match="k <= 3"):
        limited.check_core(torch.zeros(4, 4))


def test_a_core_for_another_batch_is_refused() -> None:
    layer = adapted_linear((9, 24))
    layer.core = torch.zeros(3, 2, 2, dtype=torch.float64)
    with pytest.raises(AdapterError, match=r"3 cores.*2 rows"):
        layer(torch.zeros(2, 5, 24, dtype=torch.float64))
    with pytest.raises(AdapterError, match="core per row"):
        layer.merged_weight()


@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 3, 4), (1, 1, 2, 2), (10, 10)])
def test_a_core_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(AdapterError, match=r"k <= 9"):
        adapted_linear((9, 24)).check_core(torch.zeros(shape))


def test_factors_of_another_weight_are_refused() -> None:
    with pytest.raises(AdapterError, match=r"\(24, 9\).*\(9, 24\)"):
        AdaptedLinear(nn.Linear(24, 9), canonical_svd(torch.randn(24, 9)))


def test_merging_leaves_the_frozen_weight_alone() -> None:
    layer = adapted_linear((9, 24))
    before = layer.weight.detach().clone()
    layer.core = torch.ones(4, 4, dtype=torch.float64)
    merged = layer.merged_weight()
    merged.zero_()
    layer.core = None
    assert torch.equal(layer.merged_weight(), before)
    assert torch.equal(layer.weight, before)


@pytest.mark.parametrize("rows", [1, 2, 5, 10, 11])
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("product", [tall_linear, packed_linear])
@torch.no_grad()
def test_few_rows_by_a_tall_weight_are_the_same_product(
    product: Callable[[Tensor, Tensor, Tensor | None], Tensor], rows: int, biased: bool
) -> None:
    generator = torch.Generator().manual_seed(rows)
    weight, x = torch.randn(400, 12, generator=generator), torch.randn(rows, 12, generator=generator)
    bias = torch.randn(400, generator=generator) if biased else None
    ours = product(x, weight, bias)
    assert ours.is_contiguous()
    expected = nn.functional.linear(x.double(), weight.double(), None if bias is None else bias.double())
    torch.testing.assert_close(ours.double(), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("change", ["in place", "new data", "trained"])
def test_a_kept_copy_follows_its_weight(change: str) -> None:
    weight, x = torch.randn(400, 12), torch.randn(5, 12)
    with torch.no_grad():
        packed_linear(x, weight, None)
        if change == "in place":
            weight.mul_(2)
        elif change == "new data":
            weight.data = torch.randn(400, 12)
        else:
            weight[3] += 1
        torch.testing.assert_close(packed_linear(x, weight, None), x @ weight.mT)


def test_a_kept_copy_goes_with_its_weight() -> None:
    before = len(packed_linear_module._copies)
    weight = torch.randn(400, 12)
    with torch.no_grad():
        packed_linear(torch.randn(5, 12), weight, None)
    del weight
    gc.collect()
    assert len(packed_linear_module._copies) == before


def test_a_product_that_trains_has_its_gradient() -> None:
    weight, x = torch.randn(400, 12), torch.randn(5, 12, requires_grad=True)
    packed_linear(x, weight, None).sum().backward()
    torch.testing.assert_close(x.grad, weight.sum(dim=0).expand(5, 12))
