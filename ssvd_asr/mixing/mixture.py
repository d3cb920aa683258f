"""Batch whose rows belong to different domains, and the call of an adapted layer on it.

`Mixture` holds the slot of each row in a `CoreStack`. All layers share the one object, so removing or moving
rows only changes one small list. Each layer plans how to treat the current rows (cost.py) and keeps the plan
until they change.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ssvd_asr.errors import AdapterError
from ssvd_asr.layer.linear import AdaptedLinear
from ssvd_asr.layer.product_cost import device_speed
from ssvd_asr.mixing.core_stack import BASE_SLOT, CoreStack
from ssvd_asr.mixing.cost import FORMS, Choice, Form, Work, choose_form
from ssvd_asr.mixing.plan import Place, Plan, make_plan, run_plan

__all__ = ["FORMS", "CoreStack", "Form", "MixedLayer", "Mixture"]

FEW_LEFT = 3 / 4  # share of a batch for which the way chosen for the whole is still near the best
BLOCK_BYTES = 64 * 2**20  # of weights W' built together and dropped after use


class Mixture:
    """The slots of the running batch's rows, in order. Made by `AdaptedModel.mixing`."""

    def __init__(self, stack: CoreStack, rows: Sequence[int], form: Form | Literal["auto"] = "auto") -> None:
        """Take rows (B,), each a slot of `stack`. Raises AdapterError for an unknown form."""
        if form != "auto" and form not in FORMS:
            raise AdapterError(f"form {form!r} is not auto or one of {', '.join(FORMS)}")
        self.stack = stack
        self.form = form
        self.slots: tuple[int, ...] = tuple(rows)
        self.counts: Mapping[int, int] = Counter(self.slots)  # rows of each slot
        self.version = 0  # of `slots`; plans made for another version are invalid
        self.plans: dict[tuple[object, ...], Plan] = {}  # shared by layers that are alike
        self._sized: dict[tuple[int, ...], tuple[Mapping[int, int], int]] = {}  # see `sized`

    @property
    def rows(self) -> Tensor:
        """The slots (B,), int64."""
        return torch.tensor(self.slots, dtype=torch.long)

    def keep(self, indices: Sequence[int]) -> None:
        """Keep these of the current rows (B',), in this order; a row may appear several times."""
        self.put([self.slots[index] for index in indices])

    def put(self, slots: Sequence[int]) -> None:
        """Replace the rows' slots, which must be among those that the batch began with."""
        if tuple(slots) != self.slots:
            self.slots = tuple(slots)
            self.counts = Counter(self.slots)
            self.version += 1
            self.plans.clear()
            self._sized.clear()

    def sized(self, sizes: Sequence[int]) -> tuple[Mapping[int, int], int]:
        """Return the rows of each slot with a core in a layer, and its largest core; `sizes` is k by slot."""
        key = tuple(map(sizes.__getitem__, self.counts))
        found = self._sized.get(key)
        if found is None:
            counts = {slot: rows for (slot, rows), k in zip(self.counts.items(), key, strict=True) if k}
            found = self._sized[key] = counts, max(key)
        return found


@dataclass(frozen=True)
class Way:
    """How one layer treats the slots of a batch. Kept until a quarter of the rows have left."""

    rows: int  # of the batch when this was decided
    slots: frozenset[int]  # that have a core here
    merged: frozenset[int]
    alone: frozenset[int]  # whose W' is held, or will be
    grouped: bool

    def holds(self, rows: int, slots: Set[int]) -> bool:
        """Return whether this choice is still near the best. Every choice is exact; only speed differs."""
        return FEW_LEFT * self.rows <= rows <= self.rows and slots <= self.slots


class MixedLayer:
    """Callable that replaces the forward of an `AdaptedLinear` while a mixture is open."""

    def __init__(self, name: str, layer: AdaptedLinear, mixture: Mixture) -> None:
        self.mixture = mixture
        self.name = name
        self._layer = layer
        self._calls: dict[int, int] = {}  # by vectors per row
        self._ways: dict[int, Way] = {}
        self._ready: dict[int, tuple[int, Plan, Place]] = {}  # with the version they are for

    def __call__(self, x: Tensor) -> Tensor:
        """Map x (B, ..., n) to (B, ..., m). Raises AdapterError where x and the mixture differ in rows."""
        rows = len(self.mixture.slots)
        if x.shape[0] != rows:
            raise AdapterError(f"a mixture of {rows} rows for a batch of {x.shape[0]} rows")
        tokens = x.numel() // (rows * x.shape[-1])
        calls = self._calls[tokens] = self._calls.get(tokens, 0) + 1
        ready = self._ready.get(tokens)
        # Decide again at calls 1, 2, 4, 8, ...: the more calls there were, the more keeping W' may pay.
        again = not calls & (calls - 1)
        if again or ready is None or ready[0] != self.mixture.version:
            ready = self._ready[tokens] = (self.mixture.version, *self._prepare(tokens, calls, again))
        y = run_plan(ready[1], ready[2], x.reshape(rows, tokens, -1))
        return y.view(*x.shape[:-1], y.shape[-1])

    def consider(self, tokens: int, calls: int = 1) -> Choice:
        """Return the cost model's choice for rows of `tokens` vectors at the `calls`-th call.

        At least one row must have a core here.
        """
        return self._choose(self._work(tokens, calls, *self._sized()))

    def _choose(self, work: Work) -> Choice:
        device = self._layer.weight.device.type
        threads = torch.get_num_threads() if device == "cpu" else 1
        return choose_form(work, device_speed(device, work.itemsize, threads))

    def _work(self, tokens: int, calls: int, counts: Mapping[int, int], k: int) -> Work:
        stack, name, weight = self.mixture.stack, self.name, self._layer.weight
        m, n = weight.shape
        # Assume as many calls again as there were; where W' cannot be kept, each call builds it.
        builds = stack.hot.builds(name, counts, weight.numel() * weight.element_size(), 1 / (calls + 1))
        return Work(
            m, n, k, tuple(counts.values()), builds, len(self.mixture.slots) - sum(counts.values()),
            tokens, weight.element_size(), stack.rank(name, list(counts)),
        )  # fmt: skip

    def _sized(self) -> tuple[Mapping[int, int], int]:
        return self.mixture.sized(self.mixture.stack.sizes(self.name))

    def _prepare(self, tokens: int, calls: int, again: bool) -> tuple[Plan, Place]:
        mixture, layer, (counts, k) = self.mixture, self._layer, self._sized()
        way = self._ways.get(tokens)
        if again or way is None or not way.holds(len(mixture.slots), counts.keys()):
            way = self._ways[tokens] = self._decide(tokens, calls, counts, k)
        m, n = layer.weight.shape
        together = max(1, BLOCK_BYTES // (m * n * layer.weight.element_size()))
        key = (tuple(counts), way.merged, way.alone, way.grouped, together)
        plan = mixture.plans.get(key)
        if plan is None:
            plan = mixture.plans[key] = make_plan(
                [slot if slot in counts else BASE_SLOT for slot in mixture.slots],
                way.merged,
                way.alone,
                grouped=way.grouped,
                together=together,
                device=layer.weight.device,
            )
        before = self._ready.get(tokens)
        if before is not None and before[0] == mixture.version and before[1] is plan and before[2].keep:
            return before[1:]  # keeps the gathered cores
        return plan, Place(self.name, layer, mixture.stack, k, keep=calls > 1)

    def _decide(self, tokens: int, calls: int, counts: Mapping[int, int], k: int) -> Way:
        form, slots = self.mixture.form, list(counts)
        work = self._work(tokens, calls, counts, k)
        merged, grouped = slots if form == "merged" else [], form == "grouped"
        if form == "auto" and slots:
            choice = self._choose(work)
            merged, grouped = [slots[index] for index in choice.merged], choice.others == "grouped"
        alone = {slot for slot, build in zip(slots, work.builds, strict=True) if build < 1.0}
        return Way(len(self.mixture.slots), frozenset(slots), frozenset(merged), frozenset(alone), grouped)
