"""Cost of each exact form of a training step in one adapted layer; `choose_step` takes the cheapest.

Operations of a batch of N tokens through W (m, n) with a core D (k, k), forward and backward:

    shared    4 N m n + 4 N k (m + n) + 6 N k^2                 about twice a plain linear at k = 0.4 n
    merged    4 N m n + two times W' + the gradient of D        W' = W + U_k D V_k^T: 2 k (m n + k min(m, n))

In the merged form, dD = U_k^T dW' V_k with dW' = dY^T X costs the lesser of

    whole     2 N m n + 2 k (m n + k min(m, n))                 U_k^T (dY^T X) V_k
    projected 2 N k (m + n) + 2 N k^2                           (dY U_k)^T (X V_k)

W' is not kept: it is built in the forward pass and again in the backward pass. For the backward pass,
`projected` keeps X V_k (N, k), as shared does, and `whole` keeps X itself (N, n).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

from ssvd_asr.layer.product_cost import Cost, DeviceSpeed, moved, product

StepForm = Literal["shared", "merged"]
STEP_FORMS: tuple[StepForm, ...] = get_args(StepForm)
Gradient = Literal["whole", "projected"]


@dataclass(frozen=True)
class StepWork:
    """One batch through one layer, forward and backward."""

    m: int  # out features
    n: int  # in features
    k: int
    tokens: int
    input_gradient: bool  # False below the first layer that trains
    itemsize: int  # bytes a number


@dataclass(frozen=True)
class StepChoice:
    """The way taken, and the cost of each form with its cheaper gradient."""

    form: StepForm
    gradient: Gradient  # of the core; shared has only the projected one
    cost: Cost
    forms: tuple[tuple[StepForm, Cost], ...]


@lru_cache(maxsize=4096)
def choose_step(work: StepWork, speed: DeviceSpeed, form: StepForm | Literal["auto"] = "auto") -> StepChoice:
    """Return the cheapest way for this batch, or the cheapest of one form."""
    gradient, merged = min(
        (("projected", _projected(work, speed)), ("whole", _whole(work, speed))),
        key=lambda option: option[1].seconds,
    )
    costs: dict[StepForm, Cost] = {
        "shared": _shared(work, speed),
        "merged": merged + _plain(work, speed) + _build(work, speed) * _builds(work),
    }
    taken: StepForm = min(costs, key=lambda each: costs[each].seconds) if form == "auto" else form
    return StepChoice(
        taken,
        "whole" if (taken, gradient) == ("merged", "whole") else "projected",
        costs[taken],
        tuple(costs.items()),
    )


@lru_cache(maxsize=4096)
def merging_pays(work: StepWork, speed: DeviceSpeed) -> bool:
    """Return whether a pass without gradients is cheaper by a W' of its own than over the basis."""
    shared = product(work, speed, work.tokens, work.n, work.k) + _turned(work, speed, work.m)
    return _build(work, speed).seconds < shared.seconds


def plain_step_cost(work: StepWork, speed: DeviceSpeed) -> Cost:
    """Return the cost of the same batch in the bare frozen layer."""
    return _plain(work, speed)


def _plain(work: StepWork, speed: DeviceSpeed) -> Cost:
    """Return the cost of X W^T and, where a layer below trains, of dY W."""
    cost = product(work, speed, work.tokens, work.n, work.m)
    return cost + product(work, speed, work.tokens, work.m, work.n) if work.input_gradient else cost


def _shared(work: StepWork, speed: DeviceSpeed) -> Cost:
    """Return the cost of the plain products, the projected gradient, and the products through the basis."""
    cost = _plain(work, speed) + _projected(work, speed) + _turned(work, speed, work.m)
    return cost + _turned(work, speed, work.n) if work.input_gradient else cost


def _turned(work: StepWork, speed: DeviceSpeed, width: int) -> Cost:
    """Return the cost of the core and the basis after k directions, and of adding them (N, width)."""
    tokens, k = work.tokens, work.k
    cost = product(work, speed, tokens, k, k) + product(work, speed, tokens, k, width)
    return cost + moved(speed, tokens * width * work.itemsize)


def _projected(work: StepWork, speed: DeviceSpeed) -> Cost:
    """Return the cost of X V_k, dY U_k, and the core's gradient from both."""
    tokens, k = work.tokens, work.k
    cost = product(work, speed, tokens, work.n, k) + product(work, speed, tokens, work.m, k)
    return cost + product(work, speed, k, tokens, k)


def _whole(work: StepWork, speed: DeviceSpeed) -> Cost:
    """Return the cost of dW' = dY^T X, then of U_k^T dW' V_k from its longer side."""
    shorter, longer = sorted((work.m, work.n))
    cost = product(work, speed, work.m, work.tokens, work.n) + product(work, speed, work.k, longer, shorter)
    return cost + product(work, speed, work.k, shorter, work.k)


def _build(work: StepWork, speed: DeviceSpeed) -> Cost:
    """Return the cost of building W' once, and of reading W for it."""
    cost = product(work, speed, work.k, work.k, min(work.m, work.n))
    cost = cost + product(work, speed, work.m, work.k, work.n)
    return cost + moved(speed, work.m * work.n * work.itemsize)


def _builds(work: StepWork) -> int:
    return 2 if work.input_gradient else 1
