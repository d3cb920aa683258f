"""Adapting a model in place, choosing a domain, and taking it all out again."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from ssvd_asr.adapted_model import AdaptedModel, adapt
from ssvd_asr.adapter.adapter import Adapter
from ssvd_asr.adapter.forms import MAPS, RotationMap
from ssvd_asr.errors import AdapterError
from tests.ssvd_asr.toy import PATTERNS, Toy, inputs, toy_factors, train_at_random


@pytest.fixture
def adapted() -> AdaptedModel:
    model = Toy()
    return adapt(model, toy_factors(model), PATTERNS)


def new_adapter(rotation_map: RotationMap = "first-order", p: float = 0.5) -> Adapter:
    return Adapter.new(toy_factors(Toy()), p=p, rotation_map=rotation_map)


@pytest.mark.parametrize("kind", MAPS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("autocast", [False, True])
def test_untrained_adapter_is_a_noop(kind: RotationMap, dtype: torch.dtype, autocast: bool) -> None:
    plain = Toy().to(dtype)
    model = copy.deepcopy(plain)
    adapted = adapt(model, toy_factors(Toy()), PATTERNS)
    x = inputs().to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        expected = plain(x)
        with adapted.using(new_adapter(kind, p=1.0).cores()):
            assert torch.equal(model(x), expected)
        with adapted.using(None):
            assert torch.equal(model(x), expected)


@pytest.mark.parametrize("kind", MAPS)
def test_only_the_adapter_receives_gradients(kind: RotationMap, adapted: AdaptedModel) -> None:
    adapter = train_at_random(new_adapter(kind))
    with adapted.using(adapter.cores()) as model:
        model(inputs()).square().sum().backward()
    assert all(parameter.grad is None for parameter in adapted.model.parameters())
    assert not any(parameter.requires_grad for parameter in adapted.model.parameters())
    for parameter in adapter.parameters():
        assert parameter.grad is not None
        assert bool(parameter.grad.abs().min() > 0)


@pytest.mark.parametrize("kind", MAPS)
def test_an_untrained_adapter_can_start_to_train(kind: RotationMap, adapted: AdaptedModel) -> None:
    adapter = new_adapter(kind)
    with adapted.using(adapter.cores()) as model:
        model(inputs()).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in adapter.parameters())


@pytest.mark.parametrize("kind", MAPS)
def test_gradients_through_the_model_agree_with_differences(kind: RotationMap) -> None:
    model = Toy().double()
    adapted = adapt(model, toy_factors(model), PATTERNS)
    adapter = train_at_random(Adapter.new(toy_factors(Toy()), k=3, rotation_map=kind).double())
    module = _Cores(adapter)
    names = [name for name, _ in module.named_parameters()]

    def loss(*values: torch.Tensor) -> torch.Tensor:
        cores = torch.func.functional_call(module, dict(zip(names, values, strict=True)), ())
        with adapted.using(cores):
            total: torch.Tensor = model(inputs(2, 2).double()).square().sum()
            return total

    parameters = tuple(parameter.detach().clone().requires_grad_() for parameter in adapter.parameters())
    assert torch.autograd.gradcheck(loss, parameters)


class _Cores(nn.Module):
    """cores() as a forward, which functional_call needs."""

    def __init__(self, adapter: Adapter) -> None:
        super().__init__()
        self.adapter = adapter

    def forward(self) -> dict[str, torch.Tensor]:
        return self.adapter.cores()


def test_training_moves_nothing_but_the_adapter(adapted: AdaptedModel) -> None:
    before = copy.deepcopy(adapted.model.state_dict())
    adapter = new_adapter()
    optimiser = torch.optim.AdamW(adapter.parameters(), lr=0.05)
    losses = []
    for _ in range(20):
        with adapted.using(adapter.cores()) as model:
            loss = (model(inputs()) - 1.0).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    for name, tensor in adapted.model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_train_and_eval_change_no_weight(adapted: AdaptedModel) -> None:
    adapter = train_at_random(new_adapter())
    with adapted.using(adapter.cores()) as model:
        outputs = [model.train(mode)(inputs()) for mode in (True, False, True)]
    assert torch.equal(outputs[0], outputs[1])
    assert torch.equal(outputs[1], outputs[2])


def test_cores_leave_with_the_block_even_when_it_fails(adapted: AdaptedModel) -> None:
    plain = adapted.model(inputs())
    cores = train_at_random(new_adapter()).cores()
    with adapted.using(cores):
        assert not torch.equal(adapted.model(inputs()), plain)
    with pytest.raises(RuntimeError, match="shapes"), adapted.using(cores):
        adapted.model(torch.zeros(2, 13))
    assert torch.equal(adapted.model(inputs()), plain)
    with adapted.using(cores):
        pass


def test_two_domains_at_once_are_refused_and_the_outer_one_stays(adapted: AdaptedModel) -> None:
    with adapted.using(train_at_random(new_adapter()).cores()):
        turned = adapted.model(inputs())
        with pytest.raises(RuntimeError, match="open already"), adapted.using(None):
            pass
        assert torch.equal(adapted.model(inputs()), turned)


def test_a_core_for_no_layer_or_of_no_fit_leaves_the_base_unchanged(adapted: AdaptedModel) -> None:
    plain = adapted.model(inputs())
    good = train_at_random(new_adapter()).cores()
    for bad in ({**good, "nowhere": torch.zeros(2, 2)}, {**good, "square": torch.zeros(11, 11)}):
        with pytest.raises(AdapterError), adapted.using(bad):
            pass
        assert torch.equal(adapted.model(inputs()), plain)


def test_layers_without_a_core_are_the_base(adapted: AdaptedModel) -> None:
    core = train_at_random(new_adapter()).cores()["tall"]
    with adapted.using({"tall": core}):
        assert [name for name, layer in adapted.layers.items() if layer.core is not None] == ["tall"]


def test_mixed_domains_in_one_batch_are_as_each_alone(adapted: AdaptedModel) -> None:
    domains = [train_at_random(new_adapter(), seed=seed).cores() for seed in range(3)]
    domains.append(new_adapter().cores())  # and the base
    x = inputs(rows=4)
    with adapted.using({name: torch.stack([domain[name] for domain in domains]) for name in domains[0]}):
        together = adapted.model(x)
    for row, domain in enumerate(domains):
        with adapted.using(domain):
            assert torch.allclose(together[row], adapted.model(x[row : row + 1])[0], atol=1e-6)


def test_domains_share_one_basis(adapted: AdaptedModel) -> None:
    held = [(layer.ut.data_ptr(), layer.vh.data_ptr()) for layer in adapted.layers.values()]
    for seed in range(3):
        with adapted.using(train_at_random(new_adapter(), seed=seed).cores()) as model:
            model(inputs())
    assert held == [(layer.ut.data_ptr(), layer.vh.data_ptr()) for layer in adapted.layers.values()]
    assert not any("core" in name or "vh" in name for name in adapted.model.state_dict())


def test_restore_puts_back_the_same_linears_and_what_was_trainable() -> None:
    model = Toy()
    model.head.requires_grad_(False)
    linears = {name: model.get_submodule(name) for name in PATTERNS}
    keys = list(model.state_dict())
    adapted = adapt(model, toy_factors(model), PATTERNS)
    assert adapted.restore() is model
    assert {name: model.get_submodule(name) for name in PATTERNS} == linears
    assert list(model.state_dict()) == keys
    assert not any(parameter.requires_grad for parameter in model.head.parameters())
    assert all(parameter.requires_grad for parameter in model.tall.parameters())
    assert adapt(model, toy_factors(model), PATTERNS).layers.keys() == set(PATTERNS)


def test_missing_or_foreign_factors_leave_the_model_untouched() -> None:
    model = Toy()
    factors = toy_factors(model)
    for bad in ({"tall": factors["tall"]}, {**factors, "square": factors["tall"]}):
        with pytest.raises(AdapterError):
            adapt(model, bad, PATTERNS)
        assert type(model.tall) is nn.Linear
        assert model.tall.weight.requires_grad


def test_the_basis_moves_with_the_model(adapted: AdaptedModel) -> None:
    adapted.model.to(torch.float64)
    assert all(layer.vh.dtype == torch.float64 for layer in adapted.layers.values())
