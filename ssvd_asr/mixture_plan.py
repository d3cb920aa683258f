"""How one layer treats the rows of a mixture: rows in an order, stretches of them by one product each.

    [ plain rows | rows over the shared basis | rows with a weight of their own ]
      W x          W x + U_k D V_k^T x          W' x, W' = W + U_k D V_k^T

Each part may be empty; rows are put into this order only where their own would not do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from ssvd_asr.core_stack import BASE_SLOT, CoreStack
from ssvd_asr.linear import AdaptedLinear

BLOCK_BYTES = 64 * 2**20  # of weights W' built together and thrown away after use
MANY_PLAIN = 3  # plain rows are worth leaving out where they are a third of those they stand among


@dataclass(frozen=True)
class Block:
    """Neighbouring rows [start, stop): equally many of each slot, in this order."""

    start: int
    stop: int
    slots: tuple[int, ...]


@dataclass
class Plan:
    """Made by `make_plan` for one layer and one order of rows."""

    version: int  # of the mixture's rows
    order: Tensor | None  # (B,) which row stands where; None as they are
    back: Tensor | None  # (B,) its inverse
    plain: int  # rows before this one are plain
    based: int  # rows before this one go through W
    k: int  # the largest core over the shared basis
    cores: list[Block]
    merged: list[Block]
    keep: bool  # hold gathered cores for the next call
    gathered: dict[int, tuple[Tensor, ...]] = field(default_factory=dict)


def make_plan(
    version: int,
    rows: Sequence[int],
    merged: Set[int],
    grouped: bool,
    layer: AdaptedLinear,
    stack: CoreStack,
    name: str,
    keep: bool,
) -> Plan:
    """Plan for rows (B,) of slots, BASE_SLOT where a row is plain here.

    Args:
        merged: slots that get a weight of their own.
        grouped: over the shared basis, one core product a slot instead of one a row.
        keep: the same rows come again, so what is gathered for them is worth its memory.
    """
    counts = {slot: rows.count(slot) for slot in dict.fromkeys(rows)}

    def place(index: int) -> tuple[int, int, int]:
        slot = rows[index]
        part = 0 if slot == BASE_SLOT else 2 if slot in merged else 1
        return (part, counts[slot], slot) if grouped or part == 2 else (part, 0, 0)

    inner = _inner_plain(rows)
    order = list(range(len(rows)))
    if merged or grouped or inner * MANY_PLAIN >= len(rows):
        order = sorted(order, key=place)  # stable
    arranged = [rows[index] for index in order]
    based = sum(slot not in merged for slot in arranged)
    plain = next((i for i, slot in enumerate(arranged[:based]) if slot != BASE_SLOT), based)
    over_basis = arranged[plain:based]
    device = layer.weight.device
    moved = order != list(range(len(rows)))
    back = sorted(range(len(order)), key=order.__getitem__)
    return Plan(
        version,
        torch.tensor(order, device=device) if moved else None,
        torch.tensor(back, device=device) if moved else None,
        plain,
        based,
        max((stack.size(name, slot) for slot in over_basis), default=0),
        list(_blocks(over_basis, plain, grouped or len(set(over_basis)) == 1)),
        list(_own_blocks(arranged[based:], based, layer, stack, name)),
        keep,
    )


def run_plan(plan: Plan, layer: AdaptedLinear, stack: CoreStack, name: str, x: Tensor) -> Tensor:
    """Map x (B, T, n) to (B, T, m). Not differentiable."""
    if plan.order is not None:
        x = x[plan.order]
    if plan.based == len(x):
        y = layer.linear(x)
    else:
        y = x.new_empty(*x.shape[:2], layer.out_features)
        if plan.based:
            y[: plan.based] = layer.linear(x[: plan.based])
    if plan.plain < plan.based:
        _add_over_basis(plan, layer, stack, name, x, y)
    for block in plan.merged:
        _own_product(layer, stack, name, block, x, y)
    output: Tensor = y if plan.back is None else y[plan.back]
    return output


def _add_over_basis(
    plan: Plan, layer: AdaptedLinear, stack: CoreStack, name: str, x: Tensor, y: Tensor
) -> None:
    """y += U_k D V_k^T x for the rows between `plain` and `based`."""
    k = plan.k
    inner = functional.linear(x[plan.plain : plan.based], layer.vh[:k])  # (R, T, k)
    turned: list[Tensor] = []
    for index, block in enumerate(plan.cores):
        part = inner[block.start - plan.plain : block.stop - plan.plain].reshape(len(block.slots), -1, k)
        for matrix in _gather(plan, stack.parts[name], index):  # D^T, or its two parts
            part = torch.bmm(part, matrix) if len(block.slots) > 1 else part @ matrix
        turned.append(part.reshape(-1, k))
    whole = turned[0] if len(turned) == 1 else torch.cat(turned)
    y[plan.plain : plan.based].view(-1, y.shape[-1]).addmm_(whole, layer.ut[:k])


def _gather(plan: Plan, parts: Sequence[Tensor], index: int) -> tuple[Tensor, ...]:
    """The cores of block `index` as (S, in, out), to be applied one after the other."""
    found = plan.gathered.get(index)
    if found is None:
        block, k = plan.cores[index], plan.k
        cut = [parts[0][:, :k]] if len(parts) > 1 else [parts[0][:, :k, :k]]
        cut += [part[:, :, :k] for part in parts[1:]]
        found = tuple(_rows_of(part, block.slots).mT for part in reversed(cut))
        if plan.keep:
            plan.gathered[index] = found
    return found


def _rows_of(part: Tensor, slots: Sequence[int]) -> Tensor:
    """part[slots]; a view where the slots follow each other."""
    first, count = slots[0], len(slots)
    if tuple(slots) == tuple(range(first, first + count)):
        return part[first : first + count]
    return part[torch.tensor(slots, device=part.device)]


def _own_product(
    layer: AdaptedLinear, stack: CoreStack, name: str, block: Block, x: Tensor, y: Tensor
) -> None:
    """y = W' x + b for the rows of a block, each slot by its own W'."""
    heard, bias = x[block.start : block.stop], layer.bias
    if len(block.slots) == 1:
        slot = block.slots[0]
        weight = stack.hot.get(name, slot)
        if weight is None:
            weight = layer.merge(stack.core(name, slot))
            stack.hot.offer(name, slot, weight)
        y[block.start : block.stop] = functional.linear(heard, weight, bias)
        return
    k = max(stack.size(name, slot) for slot in block.slots)
    cores = [_rows_of(part, block.slots) for part in stack.parts[name]]
    whole = cores[0] if len(cores) == 1 else cores[0] @ cores[1]
    weights = layer.merge(whole[:, :k, :k])  # (S, m, n)
    x3, y3 = (
        each.reshape(len(block.slots), -1, each.shape[-1]) for each in (heard, y[block.start : block.stop])
    )
    if bias is None:
        torch.bmm(x3, weights.mT, out=y3)
    else:
        torch.baddbmm(bias, x3, weights.mT, out=y3)


def _inner_plain(rows: Sequence[int]) -> int:
    """How many plain rows do not stand at the beginning."""
    first = next((index for index, slot in enumerate(rows) if slot != BASE_SLOT), len(rows))
    return sum(slot == BASE_SLOT for slot in rows[first:])


def _blocks(rows: Sequence[int], start: int, by_slot: bool) -> Iterator[Block]:
    """One block with a slot a row; or by_slot, blocks of slots with equally many rows."""
    if not rows:
        return
    if not by_slot:
        yield Block(start, start + len(rows), tuple(rows))
        return
    for count, slots in _runs(rows):
        yield Block(start, start + count * len(slots), tuple(slots))
        start += count * len(slots)


def _own_blocks(
    rows: Sequence[int], start: int, layer: AdaptedLinear, stack: CoreStack, name: str
) -> Iterator[Block]:
    """Blocks of at most BLOCK_BYTES of weights; a slot whose weight is or will be kept stands alone."""
    nbytes = layer.weight.numel() * layer.weight.element_size()
    together = max(1, BLOCK_BYTES // nbytes)
    for count, slots in _runs(rows):
        pending: list[int] = []
        for slot in (*slots, None):
            alone = slot is not None and (
                stack.hot.get(name, slot) is not None or stack.hot.would_take(slot, nbytes)
            )
            if pending and (slot is None or alone or len(pending) == together):
                yield Block(start, start + count * len(pending), tuple(pending))
                start += count * len(pending)
                pending = []
            if alone and slot is not None:
                yield Block(start, start + count, (slot,))
                start += count
            elif slot is not None:
                pending.append(slot)


def _runs(rows: Iterable[int]) -> Iterator[tuple[int, list[int]]]:
    """Neighbouring slots with equally many rows: (rows of each, slots)."""
    counts: dict[int, int] = {}
    for slot in rows:
        counts[slot] = counts.get(slot, 0) + 1
    slots: list[int] = []
    for slot, count in counts.items():
        if slots and counts[slots[0]] != count:
            yield counts[slots[0]], slots
            slots = []
        slots.append(slot)
    if slots:
        yield counts[slots[0]], slots
