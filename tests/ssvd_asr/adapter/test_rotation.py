"""The maps and the core, against their printed formulas in float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ssvd_asr.adapter.forms import rotation_shape
from ssvd_asr.adapter.rotation import (
    MAPS,
    RotationMap,
    core,
    rotation_delta,
    skew_matrix,
    skew_size,
    skew_vector,
)
from ssvd_asr.errors import AdapterError

ORDERS = st.integers(1, 12)
SEEDS = st.integers(0, 2**31 - 1)


def random(*shape: int, seed: int, scale: float = 1.0, dtype: torch.dtype = torch.float64) -> Tensor:
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@settings(deadline=None, max_examples=40)
@given(ORDERS, SEEDS)
def test_skew_vector_and_matrix_are_each_others_inverse(k: int, seed: int) -> None:
    vector = random(3, skew_size(k), seed=seed)
    matrix = skew_matrix(vector, k)
    assert torch.equal(matrix.mT, -matrix)
    assert torch.equal(skew_vector(matrix), vector)


def test_skew_vector_runs_along_the_rows_of_the_upper_triangle() -> None:
    matrix = skew_matrix(torch.tensor([1.0, 2.0, 3.0]))
    assert matrix.tolist() == [[0, 1, 2], [-1, 0, 3], [-2, -3, 0]]


@pytest.mark.parametrize(("size", "k"), [(2, None), (3, 4), (4, None)])
def test_a_vector_that_fits_no_k_is_refused(size: int, k: int | None) -> None:
    with pytest.raises(AdapterError, match=str(size)):
        skew_matrix(torch.zeros(size), k)


@settings(deadline=None, max_examples=40)
@given(ORDERS, SEEDS, st.sampled_from([1e-3, 0.3, 10.0, 1e4]))
def test_cayley_gives_a_rotation_however_large_its_parameter(k: int, seed: int, scale: float) -> None:
    identity = torch.eye(k, dtype=torch.float64)
    g = rotation_delta("cayley", random(skew_size(k), seed=seed, scale=scale)) + identity
    assert torch.allclose(g.mT @ g, identity, atol=1e-9)
    assert float(torch.linalg.det(g)) == pytest.approx(1.0, abs=1e-8)


@settings(deadline=None, max_examples=40)
@given(ORDERS, SEEDS)
def test_maps_are_their_printed_formulas(k: int, seed: int) -> None:
    vector = random(skew_size(k), seed=seed, scale=0.4)
    skew, identity = skew_matrix(vector, k), torch.eye(k, dtype=torch.float64)
    strict = (identity - skew) @ torch.linalg.inv(identity + skew)
    assert torch.allclose(rotation_delta("cayley", vector) + identity, strict, atol=1e-12)
    assert torch.equal(rotation_delta("first-order", vector), -2 * skew)
    assert torch.equal(rotation_delta("free", skew), skew)


@settings(deadline=None, max_examples=40)
@given(ORDERS, SEEDS)
def test_first_order_differs_from_strict_by_the_square_of_the_parameter(k: int, seed: int) -> None:
    vector = random(skew_size(k), seed=seed, scale=1e-3)
    difference = rotation_delta("first-order", vector) - rotation_delta("cayley", vector)
    assert float(difference.norm()) <= 2.1 * float(skew_matrix(vector, k).norm()) ** 2


@settings(deadline=None, max_examples=40)
@given(ORDERS, SEEDS, st.sampled_from(MAPS))
def test_core_is_the_papers_middle_factor_less_sigma(k: int, seed: int, kind: RotationMap) -> None:
    parameter = random(*rotation_shape(kind, k), seed=seed, scale=0.2)
    sigma, delta_sigma = random(k, seed=seed + 1).abs() + 0.1, random(k, seed=seed + 2, scale=0.1)
    delta = rotation_delta(kind, parameter)
    g = delta + torch.eye(k, dtype=torch.float64)
    printed = torch.diag(sigma + delta_sigma) @ g - torch.diag(sigma)
    assert torch.allclose(core(sigma, delta, delta_sigma), printed, atol=1e-12)


@pytest.mark.parametrize("kind", MAPS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_zero_parameters_give_an_exactly_zero_core_under_autocast_too(
    kind: RotationMap, dtype: torch.dtype
) -> None:
    parameter = torch.zeros(rotation_shape(kind, 7), dtype=dtype)
    sigma = torch.linspace(3.0, 0.1, 7, dtype=torch.float64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        made = core(sigma, rotation_delta(kind, parameter), torch.zeros(7, dtype=dtype))
    assert made.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert not made.any()


@pytest.mark.parametrize("kind", MAPS)
def test_autocast_does_not_touch_the_core(kind: RotationMap) -> None:
    parameter = random(*rotation_shape(kind, 9), seed=3, scale=0.1, dtype=torch.float32)
    sigma, delta_sigma = torch.linspace(3, 1, 9), torch.linspace(-0.1, 0.1, 9)
    plain = core(sigma, rotation_delta(kind, parameter), delta_sigma)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = core(sigma, rotation_delta(kind, parameter), delta_sigma)
    assert torch.equal(plain, cast)


def test_float32_keeps_the_diagonal_that_the_printed_formula_loses() -> None:
    k = 64
    vector, sigma = random(skew_size(k), seed=0, scale=1e-4), torch.linspace(30, 1, k, dtype=torch.float64)
    delta_sigma = random(k, seed=1, scale=1e-5)
    exact = core(sigma, rotation_delta("cayley", vector), delta_sigma)
    ours = core(sigma, rotation_delta("cayley", vector.float()), delta_sigma.float()).double()
    g = (rotation_delta("cayley", vector) + torch.eye(k, dtype=torch.float64)).float()
    printed = (torch.diag(sigma + delta_sigma).float() @ g - torch.diag(sigma).float()).double()

    def error(made: Tensor) -> float:
        return float((made - exact).diagonal().norm() / exact.diagonal().norm())

    assert error(ours) < 1e-5
    assert error(printed) > 100 * error(ours)


@pytest.mark.parametrize("kind", MAPS)
def test_layers_computed_together_are_as_alone(kind: RotationMap) -> None:
    parameters = random(5, *rotation_shape(kind, 6), seed=4, scale=0.2)
    sigmas, delta_sigmas = random(5, 6, seed=5).abs(), random(5, 6, seed=6)
    together = core(sigmas, rotation_delta(kind, parameters), delta_sigmas)
    for row in range(5):
        alone = core(sigmas[row], rotation_delta(kind, parameters[row]), delta_sigmas[row])
        assert torch.allclose(together[row], alone, atol=1e-14)


@pytest.mark.parametrize("kind", MAPS)
def test_gradients_agree_with_differences_in_float64(kind: RotationMap) -> None:
    k = 4
    parameter = random(2, *rotation_shape(kind, k), seed=7, scale=0.3).requires_grad_()
    delta_sigma = random(2, k, seed=8, scale=0.1).requires_grad_()
    sigma = random(2, k, seed=9).abs()
    assert torch.autograd.gradcheck(
        lambda p, d: core(sigma, rotation_delta(kind, p), d), (parameter, delta_sigma)
    )


@pytest.mark.parametrize("kind", MAPS)
def test_float32_gradients_agree_with_differences_and_with_float64(kind: RotationMap) -> None:
    k = 6
    sigma, weights = random(k, seed=12).abs(), random(k, k, seed=13)

    def loss(parameter: Tensor, delta_sigma: Tensor) -> Tensor:
        return (core(sigma, rotation_delta(kind, parameter), delta_sigma) * weights.to(parameter.dtype)).sum()

    parameter, delta_sigma = (
        random(*rotation_shape(kind, k), seed=10, scale=0.2),
        random(k, seed=11, scale=0.1),
    )
    single = [tensor.float().requires_grad_() for tensor in (parameter, delta_sigma)]
    double = [tensor.double().requires_grad_() for tensor in (parameter, delta_sigma)]
    gradients = torch.autograd.grad(loss(*single), single)
    for gradient, exact in zip(gradients, torch.autograd.grad(loss(*double), double), strict=True):
        assert gradient.dtype == torch.float32
        assert torch.allclose(gradient.double(), exact, rtol=1e-4, atol=1e-5)
    # A step of 1e-2 is long enough that float32 rounding of the difference stays under the tolerance.
    with pytest.warns(UserWarning, match="double precision"):
        assert torch.autograd.gradcheck(loss, tuple(single), eps=1e-2, atol=2e-2, rtol=2e-2)


@settings(deadline=None, max_examples=40)
@given(SEEDS)
def test_half_precision_parameters_are_computed_in_float32(seed: int) -> None:
    vector = random(skew_size(5), seed=seed, scale=0.2).to(torch.float16)
    assert torch.equal(rotation_delta("cayley", vector), rotation_delta("cayley", vector.float()))


def test_an_unknown_map_is_refused_by_name() -> None:
    with pytest.raises(AdapterError, match=r"'strict'.*cayley, first-order, free"):
        rotation_delta("strict", torch.zeros(3))  # type: ignore[arg-type]
