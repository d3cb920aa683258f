"""Slots over a model without a network, and domains whose cores are one number everywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from server.bank.device_tier import Slots
from server.bank.mount import Mount
from ssvd_asr.basis.factors import canonical_svd
from ssvd_asr.layer.linear import AdaptedLinear
from ssvd_asr.mixing.core_stack import CoreStack
from tests.server.fakes import LAYER

K = 2
SLOT_BYTES = K * K * 4
SIDE = 16  # directions of each layer


class Toy:
    """Stands for a packed adapter: its cores are `value` everywhere, and of size k, or of these sizes."""

    def __init__(self, name: str, value: float, k: int | Mapping[str, int] = K) -> None:
        self.name, self.value = name, value
        self.ks = {LAYER: k} if isinstance(k, int) else dict(k)


A, B, C = Toy("a", 1.0), Toy("b", 2.0), Toy("c", 3.0)


def toys(count: int, k: int | Mapping[str, int] = K, name: str = "toy") -> list[Toy]:
    return [Toy(f"{name}{value}", float(value), k) for value in range(1, count + 1)]


def expand(toy: Any) -> Mapping[str, Tensor]:
    return {name: torch.full((k, k), toy.value) for name, k in toy.ks.items()}


class ToyModel:
    """Makes stacks for the layers `LAYER`, enc and dec."""

    def __init__(self) -> None:
        linear = nn.Linear(SIDE, SIDE)
        adapted = AdaptedLinear(linear, canonical_svd(linear.weight.detach()))
        self.layers = dict.fromkeys((LAYER, "enc", "dec"), adapted)
        self.made: list[CoreStack] = []

    def make_stack(self, slots: int, k: Mapping[str, int]) -> CoreStack:
        self.made.append(CoreStack(self.layers, slots, k, hot_bytes=0))
        return self.made[-1]


def slots_for(
    domains: int,
    leased: Callable[[str], bool] = lambda _: False,
    expand: Any = expand,
    k: int = K,
    model: ToyModel | None = None,
) -> Slots:
    """With room for so many of size k."""
    return Slots(
        (model or ToyModel()).make_stack,
        expand,
        leased,
        core_itemsize=4,
        max_bytes=(domains + 1) * SLOT_BYTES * (k // K) ** 2,
    )


def stage(slots: Slots, toy: Toy, **how: bool) -> bool:
    return slots.stage(toy.name, toy, **how)  # type: ignore[arg-type]


def mounted(slots: Slots, toys: Sequence[Toy | None]) -> Any:
    return slots.mounted([None if toy is None else (toy.name, toy) for toy in toys])  # type: ignore[misc]


def read(mount: Mount) -> list[float]:
    """What each row's slot holds, the base's as 0."""
    return [read_slot(mount.stack, slot) if mount.stack is not None else 0.0 for slot in mount.launch()]


def read_slot(stack: CoreStack, slot: int) -> float:
    """The one number that is everywhere in the slot's cores; 0 of a slot without."""
    cores = [stack.core(name, slot) for name in stack.touched([slot])]
    values = {float(value) for core in cores for value in core.flatten()}
    assert len(values) <= 1
    return values.pop() if values else 0.0


def resident(slots: Slots, toys: Sequence[Toy]) -> list[str]:
    """Those that are in slots, each with its own numbers there."""
    found = [toy for toy in toys if slots.place(toy.name) is not None]
    stack = slots._stack
    for toy in found:
        place = slots.place(toy.name)
        assert place is not None
        assert stack is not None
        assert read_slot(stack, place.slot) == toy.value
        assert {name: stack.size(name, place.slot) for name in stack.touched([place.slot])} == toy.ks
    return [toy.name for toy in found]
