"""What each exact form of a training step costs in one adapted layer, and which to take: `choose_step`.

Operations of a batch of N tokens through W (m, n) with a core D (k, k), forward and backward:

    shared    4 N m n + 4 N k (m + n) + 6 N k^2                 about twice a plain linear at k = 0.4 n
    merged    4 N m n + two times W' + the gradient of D        W' = W + U_k D V_k^T: 2 k (m n + k min(m, n))

where dD = U_k^T dW' V_k with dW' = dY^T X costs merged the less of

    whole     2 N m n + 2 k (m n + k min(m, n))                 U_k^T (dY^T X) V_k
    projected 2 N k (m + n) + 2 N k^2                           (dY U_k)^T (X V_k)

W' is built in the forward pass and built again in the backward pass, rather than kept. In `projected` the
backward pass keeps X V_k (N, k), as in shared; in `whole` it keeps X itself (N, n).
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
    """One batch through one layer, there and back."""

    m: int  # out features
    n: int  # in features
    k: int
    tokens: int
    input_gradient: bool  # False below the first layer that trains
    itemsize: int  # bytes a number


@dataclass(frozen=True)
class StepChoice:
    """The cheapest way, and what each form costs with its better gradient."""

    form: StepForm
    gradient: Gradient  # of the core; shared knows the projected one only
    cost: Cost
    forms: tuple[tuple[StepForm, Cost], ...]


@lru_cache(maxsize=4096)
def choose_step(work: StepWork, speed: DeviceSpeed, form: StepForm | Literal["auto"] = "auto") -> StepChoice:
    """Choose the cheapest way for this batch, or the cheapest of one form."""
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


def plain_step_cost(work: StepWork, speed: DeviceSpeed) -> Cost:
    """What the same batch costs in the bare frozen layer."""
    return _plain(work, speed)


def _plain(work: StepWork, speed: DeviceSpeed) -> Cost:
    """X W^T and, where anything below trains, dY W."""
    cost = product(work, speed, work.tokens, work.n, work.m)
    return cost + product(work, speed, work.tokens, work.m, work.n) if work.input_gradient else cost


def _shared(work: StepWork, speed: DeviceSpeed) -> Cost:
    """The plain products, the projected gradient, and what goes round through the basis."""
    tokens, k = work.tokens, work.k
    cost = _plain(work, speed) + _projected(work, speed)
    cost = cost + product(work, speed, tokens, k, k) + product(work, speed, tokens, k, work.m)
    cost = cost + moved(speed, tokens * work.m * work.itemsize)  # added to what is there
    if work.input_gradient:
        cost = cost + product(work, speed, tokens, k, k) + product(work, speed, tokens, k, work.n)
        cost = cost + moved(speed, tokens * work.n * work.itemsize)
    return cost


def _projected(work: StepWork, speed: DeviceSpeed) -> Cost:
    """X V_k, dY U_k, and the core's gradient of the two."""
    tokens, k = work.tokens, work.k
    cost = product(work, speed, tokens, work.n, k) + product(work, speed, tokens, work.m, k)
    return cost + product(work, speed, k, tokens, k)


def _whole(work: StepWork, speed: DeviceSpeed) -> Cost:
    """dW' = dY^T X, then U_k^T dW' V_k from its longer side."""
    shorter, longer = sorted((work.m, work.n))
    cost = product(work, speed, work.m, work.tokens, work.n) + product(work, speed, work.k, longer, shorter)
    return cost + product(work, speed, work.k, shorter, work.k)


def _build(work: StepWork, speed: DeviceSpeed) -> Cost:
    """W' once; W is read beside the product."""
    cost = product(work, speed, work.k, work.k, min(work.m, work.n))
    cost = cost + product(work, speed, work.m, work.k, work.n)
    return cost + moved(speed, work.m * work.n * work.itemsize)


def _builds(work: StepWork) -> int:
    return 2 if work.input_gradient else 1
