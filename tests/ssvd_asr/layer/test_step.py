"""A training step's two exact forms give the outputs and gradients of plain autograd, batch after batch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from ssvd_asr.adapted_model import AdaptedModel, adapt
from ssvd_asr.adapter.adapter import Adapter
from ssvd_asr.basis.factors import canonical_svd
from ssvd_asr.errors import AdapterError
from ssvd_asr.layer.linear import AdaptedLinear
from ssvd_asr.layer.step import can_step
from ssvd_asr.layer.step_cost import STEP_FORMS, StepForm
from tests.ssvd_asr.toy import PATTERNS, Toy, inputs, toy_factors, train_at_random

SHAPES = [(24, 9), (14, 14), (9, 24)]  # (out, in): tall, square, wide


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def layer_of(shape: tuple[int, int], dtype: torch.dtype, *, bias: bool = True) -> AdaptedLinear:
    linear = nn.Linear(shape[1], shape[0], bias=bias, dtype=dtype).requires_grad_(False)
    with torch.no_grad():
        linear.weight.copy_(torch.randn(shape, generator=seeded(1)))
    return AdaptedLinear(linear, canonical_svd(linear.weight))


def by_autograd(layer: AdaptedLinear, x: Tensor, core: Tensor) -> Tensor:
    """The dense W', which knows nothing of forms."""
    k = core.shape[-1]
    change = layer.ut[:k].mT @ core @ layer.vh[:k]
    return nn.functional.linear(x, layer.weight + change, layer.bias)


def gradients(run: Callable[[Tensor, Tensor], Tensor], x: Tensor, core: Tensor) -> tuple[Tensor, ...]:
    """Output, and the gradients of x and core for a fixed gradient of the output."""
    x, core = x.clone().requires_grad_(), core.clone().requires_grad_()
    y = run(x, core)
    torch.manual_seed(3)
    torch.autograd.backward((y * torch.randn_like(y)).sum())
    assert x.grad is not None
    assert core.grad is not None
    return y.detach(), x.grad, core.grad


def through(layer: AdaptedLinear, form: StepForm) -> Callable[[Tensor, Tensor], Tensor]:
    def run(x: Tensor, core: Tensor) -> Tensor:
        layer.core, layer.step_form = core, form
        assert can_step(x, core, layer.weight, layer.bias)
        output: Tensor = layer(x)
        return output

    return run


# 700 vectors outweigh the weight and are summed into dW', 2 are projected: see ssvd_asr.layer.step_cost.
@pytest.mark.parametrize("rows", [2, 700])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("form", STEP_FORMS)
@pytest.mark.parametrize(("dtype", "close"), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
def test_each_form_is_the_dense_layer_there_and_back(
    rows: int, shape: tuple[int, int], form: StepForm, dtype: torch.dtype, close: float
) -> None:
    layer = layer_of(shape, dtype, bias=rows == 2)
    x = torch.randn(rows, 1, shape[1], generator=seeded(4), dtype=torch.float64).to(dtype)
    core = torch.randn(7, 7, generator=seeded(5), dtype=torch.float64).to(dtype)
    expected = gradients(lambda x, core: by_autograd(layer, x, core), x, core)
    for found, wanted in zip(gradients(through(layer, form), x, core), expected, strict=True):
        assert found.dtype == dtype
        assert float((found - wanted).norm() / wanted.norm()) < close


def toy(dtype: torch.dtype) -> tuple[AdaptedModel, Adapter]:
    network = Toy().to(dtype)
    factors = toy_factors(network)
    adapter = Adapter.new(factors, k=6, rotation_map="cayley").to(dtype)
    return adapt(network, factors, PATTERNS), train_at_random(adapter)


def accumulated(form: StepForm, dtype: torch.dtype) -> tuple[list[Tensor], list[Tensor]]:
    """Losses of three batches, and the adapter's gradients after all of them."""
    adapted, adapter = toy(dtype)
    cores = adapter.cores()
    leaves = {name: core.detach().requires_grad_() for name, core in cores.items()}
    losses = []
    with adapted.using(leaves, form) as network:
        for seed in range(3):
            loss = network(inputs(2 + seed, seed=seed).to(dtype)).square().sum()
            loss.backward()
            losses.append(loss.detach())
    torch.autograd.backward(list(cores.values()), [leaf.grad for leaf in leaves.values()])
    return losses, [parameter.grad for parameter in adapter.parameters() if parameter.grad is not None]


@pytest.mark.parametrize(("dtype", "close"), [(torch.float64, 1e-11), (torch.float32, 2e-5)])
def test_both_forms_train_a_network_alike_over_accumulated_batches(dtype: torch.dtype, close: float) -> None:
    (shared, first), (merged, second) = (accumulated(form, dtype) for form in STEP_FORMS)
    torch.testing.assert_close(shared, merged, rtol=close, atol=0)
    assert len(first) == len(second) == 2
    for one, other in zip(first, second, strict=True):
        assert float((one - other).norm() / one.norm()) < close
    assert all(gradient.abs().max() > 0 for gradient in first)


@pytest.mark.parametrize("form", STEP_FORMS)
def test_a_tail_core_trains_alike_from_its_start_as_padded_from_the_first_direction(form: StepForm) -> None:
    network = Toy().double()
    adapter = Adapter.new(toy_factors(network), k=4, directions="tail", rotation_map="cayley").double()
    adapted, x = adapt(network, toy_factors(network), PATTERNS), inputs(3).double()
    train_at_random(adapter)

    def passed(padded: bool) -> tuple[Tensor, list[Tensor]]:
        cores = adapter.cores(padded=padded)
        assert all(len(core) == (adapter.spans[name] if padded else 4) for name, core in cores.items())
        with adapted.using(cores, form, starts=None if padded else adapter.starts) as model:
            y = model(x)
            return y, list(torch.autograd.grad(y.square().sum(), list(adapter.parameters())))

    close = {"rtol": 1e-10, "atol": 1e-12}
    (y, gradients), (expected, wanted) = passed(padded=False), passed(padded=True)
    torch.testing.assert_close(y, expected, **close)
    torch.testing.assert_close(gradients, wanted, **close)
    with torch.no_grad():
        plain = network(x)
        assert (plain - expected).abs().max() > 1e-3
        with adapted.using(adapter.cores(padded=False), starts=adapter.starts) as model:
            torch.testing.assert_close(model(x), expected, **close)
            merged = {name: layer.merged_weight() for name, layer in adapted.layers.items()}
        with adapted.using(adapter.cores()):
            for name, layer in adapted.layers.items():
                torch.testing.assert_close(merged[name], layer.merged_weight(), **close)
        assert torch.equal(network(x), plain)


def test_a_core_beyond_the_last_direction_is_refused() -> None:
    adapted, adapter = toy(torch.float32)
    with pytest.raises(AdapterError, match="k <= 5"), adapted.using(adapter.cores(), starts={"tall": 7}):
        pass


@pytest.mark.parametrize("form", STEP_FORMS)
def test_a_zero_core_in_training_is_exactly_the_plain_layer(form: StepForm) -> None:
    for shape in SHAPES:
        layer = layer_of(shape, torch.float32)
        x = torch.randn(30, shape[1], generator=seeded(6))
        found = through(layer, form)(x, torch.zeros(5, 5, requires_grad=True))
        assert torch.equal(found, layer.linear(x))


@pytest.mark.parametrize("form", STEP_FORMS)
def test_nothing_as_large_as_a_weight_is_kept_for_the_backward_pass(form: StepForm) -> None:
    layer, core = layer_of((64, 64), torch.float32), torch.zeros(8, 8, requires_grad=True)
    own = {tensor.data_ptr() for tensor in (layer.weight, layer.ut, layer.vh, core)}
    kept: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in own:
            kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        through(layer, form)(torch.randn(5, 64, requires_grad=True), core)
    assert [tuple(tensor.shape) for tensor in kept] == [(5, 8)]


@pytest.mark.parametrize("form", STEP_FORMS)
def test_under_autocast_outputs_are_bfloat16_and_the_cores_gradient_float32(form: StepForm) -> None:
    layer = layer_of((24, 9), torch.float32)
    x, core = torch.randn(40, 9, generator=seeded(7)), torch.randn(6, 6, generator=seeded(8))
    exact = gradients(through(layer, form), x, core)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, dx, small = gradients(through(layer, form), x, core)
    assert (y.dtype, dx.dtype, small.dtype) == (torch.bfloat16, torch.float32, torch.float32)
    for found, wanted in zip((y, dx, small), exact, strict=True):
        assert float((found.float() - wanted).norm() / wanted.norm()) < 0.02


def test_where_the_weight_trains_too_autograd_is_left_to_it() -> None:
    layer = layer_of((9, 24), torch.float64)
    layer.linear.weight.requires_grad_(True)
    layer.core = torch.randn(4, 4, dtype=torch.float64, requires_grad=True)
    x = torch.randn(3, 24, dtype=torch.float64)
    assert not can_step(x, layer.core, layer.weight, layer.bias)
    layer(x).sum().backward()
    assert layer.weight.grad is not None


def test_without_gradients_no_form_is_chosen() -> None:
    layer = layer_of((9, 24), torch.float64)
    layer.core = torch.randn(4, 4, dtype=torch.float64, requires_grad=True)
    with torch.no_grad():
        x = torch.randn(3, 24, dtype=torch.float64)
        assert not can_step(x, layer.core, layer.weight, layer.bias)
