"""Plan of one layer for the rows of a mixture: an order of the rows, and the products for blocks of them.

    [ plain rows | rows over the shared basis | rows with a weight of their own ]
      W x          W x + U_k D V_k^T x          W' x, W' = W + U_k D V_k^T

Each part may be empty. Rows are put into this order only where their own would not do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from ssvd_asr.layer.linear import AdaptedLinear, in_lanes
from ssvd_asr.layer.tall_linear import tall_linear
from ssvd_asr.mixing.core_stack import BASE_SLOT, CoreStack
from ssvd_asr.mixing.layer_cores import Chosen, choose

LONG = 512  # vectors of a domain, from which on a product takes a GPU longer than its launch takes the host
MANY_PLAIN = 3  # plain rows among the others are moved out from 1 / MANY_PLAIN of all rows on


@dataclass(frozen=True)
class Block:
    """Adjacent rows [start, stop): equally many of each slot, in the order of `slots`."""

    start: int
    stop: int
    slots: tuple[int, ...]
    chosen: Chosen  # index of the slots in a stack

    @classmethod
    def of(cls, start: int, rows: int, slots: Sequence[int], device: torch.device) -> Block:
        """Return a block of `rows` rows of each of these slots, from row `start` on."""
        return cls(start, start + rows * len(slots), tuple(slots), choose(slots, device))


@dataclass
class Place:
    """Where a plan is carried out: a layer, and what is looked up for the current rows."""

    name: str
    layer: AdaptedLinear
    stack: CoreStack
    k: int  # the largest core of any row
    keep: bool  # gathered cores, because the same rows come again
    gathered: dict[int, tuple[Tensor, ...]] = field(default_factory=dict)  # by the start of their block

    def __post_init__(self) -> None:
        # Looked up once: attribute access on modules takes a noticeable part of a decoder's step.
        self.weight, self.bias = self.layer.linear.weight, self.layer.linear.bias  # (m, n), (m,)
        self.k = in_lanes(self.k, self.weight.device)
        self.vh, self.ut = self.layer.vh[: self.k], self.layer.ut[: self.k]  # (k, n), (k, m)


@dataclass(frozen=True)
class Plan:
    """Order and blocks of a mixture's rows, from `make_plan`. Layers of one shape and one choice share it."""

    order: Tensor | None  # (B,) the row at each place; None where the order stays
    back: Tensor | None  # (B,) its inverse
    plain: int  # rows before this one are plain
    based: int  # rows before this one go through W
    cores: tuple[Block, ...]  # of the rows between
    merged: tuple[Block, ...]  # of the rows after
    at_once: bool  # all rows run over the shared basis in one block, as in most decoder steps


def make_plan(
    rows: Sequence[int],
    merged: Set[int],
    alone: Set[int],
    *,
    grouped: bool,
    together: int,
    device: torch.device,
) -> Plan:
    """Return the plan for rows (B,) given by slot, BASE_SLOT where a row is plain here.

    Args:
        merged: slots that get a weight of their own.
        alone: slots whose weight is held, or will be; each of them in `merged` gets a block of its own.
        grouped: over the shared basis, use one core product per slot instead of one per row.
        together: limit on the weights that are built for one block.
    """
    counts = Counter(rows)

    def place(index: int) -> tuple[int, int, int]:
        slot = rows[index]
        part = 0 if slot == BASE_SLOT else 2 if slot in merged else 1
        if part == 2 and slot in alone:  # has a block of its own, so rows in order by slot need no moving
            return part, 0, slot
        return (part, counts[slot], slot) if grouped or part == 2 else (part, 0, 0)

    as_they_are = list(range(len(rows)))
    order = as_they_are
    if merged or grouped or _inner_plain(rows) * MANY_PLAIN >= len(rows):
        order = sorted(order, key=place)  # stable
    arranged = [rows[index] for index in order]
    based = sum(slot not in merged for slot in arranged)
    plain = next((i for i, slot in enumerate(arranged[:based]) if slot != BASE_SLOT), based)
    over_basis = arranged[plain:based]
    moved = order != as_they_are
    back = sorted(as_they_are, key=order.__getitem__)
    cores = tuple(_blocks(over_basis, plain, grouped or len(set(over_basis)) == 1, device))
    return Plan(
        order=torch.tensor(order, device=device) if moved else None,
        back=torch.tensor(back, device=device) if moved else None,
        plain=plain,
        based=based,
        cores=cores,
        merged=tuple(_own_blocks(arranged[based:], based, alone, together, device)),
        at_once=not moved and plain == 0 and based == len(rows) and len(cores) == 1,
    )


def run_plan(plan: Plan, place: Place, x: Tensor) -> Tensor:
    """Map x (B, T, n) to (B, T, m). Not differentiable."""
    if plan.at_once:
        return _at_once(plan.cores[0], place, x)
    if plan.order is not None:
        x = x[plan.order]
    if plan.based == len(x):
        y = functional.linear(x, place.weight, place.bias)
    else:
        y = x.new_empty(*x.shape[:2], len(place.weight))
        if plan.based:
            y[: plan.based] = functional.linear(x[: plan.based], place.weight, place.bias)
    if plan.plain < plan.based:
        _add_over_basis(plan, place, x, y)
    for block in plan.merged:
        _own_product(block, place, x, y)
    output: Tensor = y if plan.back is None else y[plan.back]
    return output


def _at_once(block: Block, place: Place, x: Tensor) -> Tensor:
    """Return W x + U_k D V_k^T x for all rows, which form one block."""
    heard = x.reshape(-1, x.shape[-1])  # (B T, n)
    y = tall_linear(heard, place.weight, place.bias)
    turned = functional.linear(heard, place.vh)  # (B T, k)
    several = len(block.slots) > 1
    if several:
        turned = turned.view(len(block.slots), -1, place.k)
    for matrix in _gather(block, place):
        turned = torch.bmm(turned, matrix) if several else turned @ matrix
    y.addmm_(turned.view(-1, place.k), place.ut)
    return y.view(*x.shape[:-1], -1)


def _add_over_basis(plan: Plan, place: Place, x: Tensor, y: Tensor) -> None:
    """Add U_k D V_k^T x to y for the rows from `plain` to `based`."""
    k = place.k
    inner = functional.linear(x[plan.plain : plan.based], place.vh)  # (R, T, k)
    turned: list[Tensor] = []
    for block in plan.cores:
        part = inner[block.start - plan.plain : block.stop - plan.plain].reshape(len(block.slots), -1, k)
        for matrix in _gather(block, place):  # D^T, or its two parts
            part = torch.bmm(part, matrix) if len(block.slots) > 1 else part @ matrix
        turned.append(part.reshape(-1, k))
    whole = turned[0] if len(turned) == 1 else torch.cat(turned)
    y[plan.plain : plan.based].view(-1, y.shape[-1]).addmm_(whole, place.ut)


def _gather(block: Block, place: Place) -> tuple[Tensor, ...]:
    """Return the block's cores as matrices (S, in, out), to be applied one after the other."""
    found = place.gathered.get(block.start)
    if found is None:
        parts = place.stack.gather(place.name, block.slots, block.chosen, place.k)
        found = tuple(part.mT for part in reversed(parts))
        if place.keep:
            place.gathered[block.start] = found
    return found


def _own_product(block: Block, place: Place, x: Tensor, y: Tensor) -> None:
    """Write y = W' x + b for the rows of a block, each slot by its own W'."""
    stack, name = place.stack, place.name
    heard, out, bias = x[block.start : block.stop], y[block.start : block.stop], place.bias
    if len(block.slots) == 1:
        slot = block.slots[0]
        weight = stack.hot.get(name, slot)
        if weight is None:
            (weight,) = _weights(block, place)
            stack.hot.offer(name, slot, weight)
        torch.addmm(bias, _flat(heard), weight.mT, out=_flat(out)) if bias is not None else torch.mm(
            _flat(heard), weight.mT, out=_flat(out)
        )
        return
    weights = _weights(block, place)  # (S, m, n)
    heard, out = (each.view(len(block.slots), -1, each.shape[-1]) for each in (heard, out))
    if bias is not None and heard.shape[1] >= LONG and heard.device.type == "cuda":
        # In a product per slot the bias is free; after a batched product, y is read and written once more.
        for slot_heard, weight, slot_out in zip(heard, weights, out, strict=True):
            torch.addmm(bias, slot_heard, weight.mT, out=slot_out)
        return
    torch.bmm(heard, weights.mT, out=out)
    if bias is not None:
        out += bias


def _weights(block: Block, place: Place) -> Tensor:
    """Return W' of each of the block's slots (S, m, n)."""
    stack, name = place.stack, place.name
    k = in_lanes(max(stack.size(name, slot) for slot in block.slots), place.weight.device)
    parts = stack.gather(name, block.slots, block.chosen, k)
    return place.layer.merge(parts[0] if len(parts) == 1 else parts[0] @ parts[1])


def _flat(x: Tensor) -> Tensor:
    return x.view(-1, x.shape[-1])


def _inner_plain(rows: Sequence[int]) -> int:
    """Return how many plain rows come after the first other row."""
    first = next((index for index, slot in enumerate(rows) if slot != BASE_SLOT), len(rows))
    return sum(slot == BASE_SLOT for slot in rows[first:])


def _blocks(rows: Sequence[int], start: int, by_slot: bool, device: torch.device) -> Iterator[Block]:
    """Yield one block with a slot per row or, `by_slot`, blocks of slots with equally many rows."""
    if not rows:
        return
    if not by_slot:
        yield Block.of(start, 1, rows, device)
        return
    for count, slots in _runs(rows):
        yield Block.of(start, count, slots, device)
        start += count * len(slots)


def _own_blocks(
    rows: Sequence[int], start: int, alone: Set[int], together: int, device: torch.device
) -> Iterator[Block]:
    """Yield blocks of at most `together` slots with equally many rows; each slot of `alone` gets its own."""
    for count, slots in _runs(rows):
        while slots:
            first = next((index for index, slot in enumerate(slots) if slot in alone), len(slots))
            size = min(first, together) or 1
            yield Block.of(start, count, slots[:size], device)
            start += count * size
            slots = slots[size:]


def _runs(rows: Iterable[int]) -> Iterator[tuple[int, list[int]]]:
    """Yield runs of adjacent slots with equally many rows: (rows of each, slots)."""
    counts = Counter(rows)
    slots: list[int] = []
    for slot, count in counts.items():
        if slots and counts[slots[0]] != count:
            yield counts[slots[0]], slots
            slots = []
        slots.append(slot)
    if slots:
        yield counts[slots[0]], slots
