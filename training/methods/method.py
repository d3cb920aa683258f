"""Training methods: an adapter on a frozen base, or as reference every weight of the base."""

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
    """Interface of a method to the trainer."""

    parameters: Mapping[str, nn.Parameter]  # float32, the only tensors that change

    def step(self) -> AbstractContextManager[None]:
        """Return a context for the passes of one optimiser step; gradients are complete on leaving it."""
        ...

    def using(self) -> AbstractContextManager[object]:
        """Return a context for passes without gradients by the model as trained so far."""
        ...


class SsvdMethod:
    """Trains the adapter's numbers only; the base is frozen and holds no gradients."""

    def __init__(self, adapter: Adapter, adapted: AdaptedModel) -> None:
        self.adapter = adapter
        self.adapted = adapted
        self.parameters: Mapping[str, nn.Parameter] = dict(adapter.named_parameters())

    @contextmanager
    def step(self) -> Iterator[None]:
        """Compute the cores once per step, however many batches accumulate.

        Batches add their gradients to detached cores. On leaving, one backward pass goes through the maps.
        """
        cores = self.adapter.cores(padded=False)
        leaves = {name: core.detach().requires_grad_() for name, core in cores.items()}
        with self.adapted.using(leaves, starts=self.adapter.starts):
            yield
        # A layer that no batch used (the decoder at ctc_weight 1) has no gradient.
        reached = [(cores[name], leaf.grad) for name, leaf in leaves.items() if leaf.grad is not None]
        torch.autograd.backward([core for core, _ in reached], [gradient for _, gradient in reached])

    @contextmanager
    def using(self) -> Iterator[None]:
        with torch.no_grad():
            cores: dict[str, Tensor] = self.adapter.cores(padded=False)
        with self.adapted.using(cores, starts=self.adapter.starts):
            yield


class FullMethod:
    """Trains every weight of the network or of one half, in place: the reference for adapters."""

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
