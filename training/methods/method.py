"""What trains: an SSVD adapter on a frozen base, or (the reference) every weight of the base."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

import torch
from torch import Tensor, nn

from ssvd_asr.adapted_model import AdaptedModel
from ssvd_asr.adapter.adapter import Adapter
from training.methods.choices import in_scope
from training.run_settings import Scope


class TrainingMethod(Protocol):
    """The trainer's view of what it trains."""

    parameters: Mapping[str, nn.Parameter]  # float32, the only tensors that change

    def step(self) -> AbstractContextManager[None]:
        """Around all forward and backward passes of one optimiser step; gradients are whole after it."""
        ...

    def using(self) -> AbstractContextManager[object]:
        """Around passes without gradients: the model as trained so far."""
        ...


class SsvdMethod:
    """Only the adapter's numbers train; the base is frozen and does not even hold gradients."""

    def __init__(self, adapter: Adapter, adapted: AdaptedModel) -> None:
        self.adapter = adapter
        self.adapted = adapted
        self.parameters: Mapping[str, nn.Parameter] = dict(adapter.named_parameters())

    @contextmanager
    def step(self) -> Iterator[None]:
        """Cores are computed once a step, however many batches accumulate.

        The batches leave their gradients on detached cores; at the end those go through the maps at once.
        """
        cores = self.adapter.cores(padded=False)
        leaves = {name: core.detach().requires_grad_() for name, core in cores.items()}
        with self.adapted.using(leaves, starts=self.adapter.starts):
            yield
        # A layer that no batch reached (a decoder under ctc_weight 1) has no gradient.
        reached = [(cores[name], leaf.grad) for name, leaf in leaves.items() if leaf.grad is not None]
        torch.autograd.backward([core for core, _ in reached], [gradient for _, gradient in reached])

    @contextmanager
    def using(self) -> Iterator[None]:
        with torch.no_grad():
            cores: dict[str, Tensor] = self.adapter.cores(padded=False)
        with self.adapted.using(cores, starts=self.adapter.starts):
            yield


class FullMethod:
    """Every weight of the network (or of one half of it) trains, in place: the yardstick of adapters."""

    def __init__(self, network: nn.Module, scope: Scope = "all") -> None:
        network.requires_grad_(False)
        self.network = network
        every = dict(network.named_parameters())
        self.parameters: Mapping[str, nn.Parameter] = {name: every[name] for name in in_scope(every, scope)}
        for parameter in self.parameters.values():
            parameter.requires_grad_(True)

    def step(self) -> AbstractContextManager[None]:
        return nullcontext()

    def using(self) -> AbstractContextManager[None]:
        return nullcontext()
