"""A batch whose rows belong to different domains, and what an adapted layer does for it.

`Mixture` says which slot of a `CoreStack` each row has; all layers look at the one object, so rows that leave
or change places cost one small list. Each layer plans how to treat the rows as they stand (ssvd_asr.cost) and
keeps the plan until they change.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from ssvd_asr.core_stack import BASE_SLOT, CoreStack
from ssvd_asr.cost import FORMS, Choice, Form, Work, choose_form, device_speed
from ssvd_asr.errors import AdapterError
from ssvd_asr.linear import AdaptedLinear
from ssvd_asr.mixture_plan import Plan, make_plan, run_plan

__all__ = ["FORMS", "CoreStack", "Form", "MixedLayer", "Mixture"]


class Mixture:
    """The slots of the running batch's rows, in order. Made by `AdaptedModel.mixing`."""

    def __init__(self, stack: CoreStack, rows: Sequence[int], form: Form | Literal["auto"] = "auto") -> None:
        """Take rows (B,), each a slot of `stack`. Raises AdapterError for an unknown form."""
        if form != "auto" and form not in FORMS:
            raise AdapterError(f"form {form!r} is not auto or one of {', '.join(FORMS)}")
        self.stack = stack
        self.form = form
        self.slots: tuple[int, ...] = tuple(rows)
        self.version = 0  # of `slots`: plans made for another one are void

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
            self.version += 1


class MixedLayer:
    """What stands on an `AdaptedLinear` while a mixture is open: x (B, ..., n) to (B, ..., m)."""

    def __init__(self, name: str, layer: AdaptedLinear, mixture: Mixture) -> None:
        self.name = name
        self.mixture = mixture
        self._layer = layer
        self._plans: dict[int, Plan] = {}  # by vectors a row
        self._calls: dict[int, int] = {}

    def __call__(self, x: Tensor) -> Tensor:
        """Raises AdapterError where x has other rows than the mixture."""
        rows = len(self.mixture.slots)
        if x.shape[0] != rows:
            raise AdapterError(f"a mixture of {rows} rows for a batch of {x.shape[0]} rows")
        tokens = x.numel() // (rows * x.shape[-1])
        calls = self._calls[tokens] = self._calls.get(tokens, 0) + 1
        plan = self._plans.get(tokens)
        # Thought over at calls 2, 4, 8, ...: what was called often will be, and then W' may be worth keeping.
        if plan is None or plan.version != self.mixture.version or not calls & (calls - 1):
            plan = self._plans[tokens] = self._plan(tokens, calls)
        y = run_plan(plan, self._layer, self.mixture.stack, self.name, x.reshape(rows, tokens, -1))
        return y.view(*x.shape[:-1], y.shape[-1])

    def choice(self, tokens: int, calls: int = 1) -> Choice | None:
        """How rows of `tokens` vectors would be treated at the `calls`-th call; None where all are plain."""
        stack, layer = self.mixture.stack, self._layer
        counts = self._counts()
        if not counts:
            return None
        m, n = layer.out_features, layer.in_features
        weight = layer.weight
        nbytes = m * n * weight.element_size()
        builds = []
        for slot in counts:
            kept = stack.hot.would_take(slot, nbytes)
            held = stack.hot.get(self.name, slot) is not None
            # Assume as many calls again as there were; where W' cannot be kept, each call builds it.
            builds.append(0.0 if held else 1.0 / calls if kept else 1.0)
        work = Work(
            m, n, max(stack.size(self.name, slot) for slot in counts), tuple(counts.values()), tuple(builds),
            len(self.mixture.slots) - sum(counts.values()), tokens, weight.element_size(),
            None if len(stack.parts[self.name]) == 1 else stack.parts[self.name][0].shape[-1],
        )  # fmt: skip
        threads = torch.get_num_threads() if weight.device.type == "cpu" else 1
        return choose_form(work, device_speed(weight.device.type, work.itemsize, threads))

    def _counts(self) -> dict[int, int]:
        """Rows of each slot that has a core here."""
        counts: dict[int, int] = {}
        for slot in self.mixture.slots:
            if self.mixture.stack.size(self.name, slot):
                counts[slot] = counts.get(slot, 0) + 1
        return counts

    def _plan(self, tokens: int, calls: int) -> Plan:
        mixture, counts = self.mixture, self._counts()
        own = [slot if slot in counts else BASE_SLOT for slot in mixture.slots]
        merged: list[int] = []
        grouped = mixture.form == "grouped"
        if mixture.form == "merged":
            merged = list(counts)
        elif mixture.form == "auto" and (choice := self.choice(tokens, calls)) is not None:
            merged = [list(counts)[index] for index in choice.merged]
            grouped = choice.others == "grouped"
        return make_plan(
            mixture.version, own, set(merged), grouped, self._layer, mixture.stack, self.name, calls > 1
        )
