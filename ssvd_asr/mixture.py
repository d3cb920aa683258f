"""A batch whose rows belong to different domains, and what an adapted layer does for it.

`Mixture` says which slot of a `CoreStack` each row has; all layers look at the one object, so rows that leave
or change places cost one small list. Each layer plans how to treat the rows as they stand (ssvd_asr.cost) and
keeps the plan until they change.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from ssvd_asr.core_stack import BASE_SLOT, CoreStack
from ssvd_asr.cost import FORMS, Choice, DeviceSpeed, Form, Work, choose_form, device_speed
from ssvd_asr.errors import AdapterError
from ssvd_asr.linear import AdaptedLinear
from ssvd_asr.mixture_plan import Place, Plan, make_plan, run_plan

__all__ = ["FORMS", "CoreStack", "Form", "MixedLayer", "Mixture"]

BLOCK_BYTES = 64 * 2**20  # of weights W' built together and thrown away after use


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
        self.version = 0  # of `slots`: plans made for another one are void
        self.plans: dict[tuple[Work, tuple[int, ...]], Plan] = {}  # shared by layers that are alike

    @property
    def rows(self) -> Tensor:
        """The slots (B,), int64."""
        return torch.tensor(self.slots, dtype=torch.long)

    def keep(self, indices: Tensor | Sequence[int]) -> None:
        """Go on with these rows (B',) of the current ones, in this order; a row may come several times."""
        chosen = indices.tolist() if isinstance(indices, Tensor) else indices
        self.put([self.slots[index] for index in chosen])

    def put(self, slots: Sequence[int]) -> None:
        """Have these rows, which must be among those that the batch began with."""
        if tuple(slots) != self.slots:
            self.slots = tuple(slots)
            self.counts = Counter(self.slots)
            self.version += 1
            self.plans.clear()


class MixedLayer:
    """What stands on an `AdaptedLinear` while a mixture is open: x (B, ..., n) to (B, ..., m)."""

    def __init__(self, name: str, layer: AdaptedLinear, mixture: Mixture) -> None:
        self.mixture = mixture
        self._name = name
        self._layer = layer
        self._calls: dict[int, int] = {}  # by vectors a row
        self._ways: dict[int, tuple[int, Plan, Place]] = {}  # with the version they are for

    def __call__(self, x: Tensor) -> Tensor:
        """Raises AdapterError where x has other rows than the mixture."""
        rows = len(self.mixture.slots)
        if x.shape[0] != rows:
            raise AdapterError(f"a mixture of {rows} rows for a batch of {x.shape[0]} rows")
        tokens = x.numel() // (rows * x.shape[-1])
        calls = self._calls[tokens] = self._calls.get(tokens, 0) + 1
        way = self._ways.get(tokens)
        # Thought over at calls 2, 4, 8, ...: what was called often will be, and then W' may be worth keeping.
        if way is None or way[0] != self.mixture.version or not calls & (calls - 1):
            way = self._ways[tokens] = (self.mixture.version, *self._think(tokens, calls))
        y = run_plan(way[1], way[2], x.reshape(rows, tokens, -1))
        return y.view(*x.shape[:-1], y.shape[-1])

    def consider(self, tokens: int, calls: int = 1) -> tuple[Choice, Work, DeviceSpeed]:
        """What rows of `tokens` vectors are, at the `calls`-th call, to the cost model, and what it says.

        Only where some row has a core here.
        """
        work, device = self._work(tokens, calls, self._counts()), self._layer.weight.device
        threads = torch.get_num_threads() if device.type == "cpu" else 1
        speed = device_speed(device.type, work.itemsize, threads)
        return choose_form(work, speed), work, speed

    def _work(self, tokens: int, calls: int, counts: Mapping[int, int]) -> Work:
        stack, name, weight = self.mixture.stack, self._name, self._layer.weight
        m, n = weight.shape
        nbytes = weight.numel() * weight.element_size()
        builds = []
        for slot in counts:
            held = stack.hot.get(name, slot) is not None
            # Assume as many calls again as there were; where W' cannot be kept, each call builds it.
            builds.append(0.0 if held else 1 / (calls + 1) if stack.hot.would_take(slot, nbytes) else 1.0)
        return Work(
            m, n, max((stack.size(name, slot) for slot in counts), default=0), tuple(counts.values()),
            tuple(builds), len(self.mixture.slots) - sum(counts.values()), tokens, weight.element_size(),
            stack.rank(name, list(counts)),
        )  # fmt: skip

    def _counts(self) -> Mapping[int, int]:
        """Rows of each slot that has a core here."""
        sizes = self.mixture.stack.sizes(self._name)
        return {slot: count for slot, count in self.mixture.counts.items() if sizes[slot]}

    def _think(self, tokens: int, calls: int) -> tuple[Plan, Place]:
        mixture, layer, counts = self.mixture, self._layer, self._counts()
        work = self._work(tokens, calls, counts)
        place = Place(self._name, layer, mixture.stack, work.k, keep=calls > 1)
        key = (work, tuple(counts))
        plan = mixture.plans.get(key)
        if plan is None:
            slots = list(counts)
            merged, grouped = slots if mixture.form == "merged" else [], mixture.form == "grouped"
            if mixture.form == "auto" and slots:
                choice, _, _ = self.consider(tokens, calls)
                merged, grouped = [slots[index] for index in choice.merged], choice.others == "grouped"
            plan = mixture.plans[key] = make_plan(
                [slot if slot in counts else BASE_SLOT for slot in mixture.slots],
                set(merged),
                {slot for slot, build in zip(slots, work.builds, strict=True) if build < 1.0},
                grouped=grouped,
                together=max(1, BLOCK_BYTES // (work.m * work.n * work.itemsize)),
                device=layer.weight.device,
            )
        return plan, place
