"""Optimiser step: run its batches through the network, add their gradients, update the parameters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import groupby
from typing import Any

import torch

from ssvd_asr.base.learner import STATISTICS, Learner
from ssvd_asr.errors import SsvdError
from training.corpus.batches import Batch, BatchPlan, torch_seed
from training.loop.checkpoint import Progress
from training.loop.processes import Processes, whole
from training.loop.schedule import learning_rate
from training.methods.method import TrainingMethod
from training.recipe import Recipe

MAX_SKIPPED_IN_A_ROW = 20


class Optimisation:
    """AdamW by the recipe, over all batches of a step in all processes."""

    def __init__(
        self, learner: Learner, method: TrainingMethod, recipe: Recipe, total_steps: int, *,
        device: torch.device, autocast: bool, processes: Processes,
    ) -> None:  # fmt: skip
        self.learner = learner
        self.method = method
        self.recipe = recipe
        self.total_steps = total_steps
        self.device = device
        self.autocast = autocast
        self.processes = processes
        self.optimizer = torch.optim.AdamW(
            self._groups(),
            lr=recipe.lr,
            betas=(recipe.beta1, recipe.beta2),
            eps=recipe.eps,
            weight_decay=recipe.weight_decay,
        )

    def _groups(self) -> list[dict[str, Any]]:
        """Return the parameters by their multiple of the rate, in their order, which checkpoints rely on."""

        def multiple(name: str) -> float:
            return self.recipe.delta_sigma_rate if name.startswith("delta_sigma.") else 1.0

        parameters = self.method.parameters
        return [
            {"params": [parameters[name] for name in names], "multiple": value}
            for value, names in groupby(parameters, multiple)
        ]

    def mixed_precision(self) -> AbstractContextManager[Any]:
        """Return a bfloat16 autocast context if the run uses it."""
        return torch.autocast(self.device.type, torch.bfloat16) if self.autocast else nullcontext()

    def step(
        self, group: list[BatchPlan], batches: Iterator[Batch], progress: Progress
    ) -> dict[str, float | int | None]:
        """Make one step over `group` and return values to log; `batches` yields this process's batches."""
        recipe = self.recipe
        rate = learning_rate(recipe, progress.step + 1, self.total_steps)
        for settings in self.optimizer.param_groups:
            settings["lr"] = rate * settings["multiple"]
        self.optimizer.zero_grad(set_to_none=True)
        sums = self._gradients(len(group), batches, progress)
        parameters = list(self.method.parameters.values())
        norm = float(whole(torch.nn.utils.clip_grad_norm_(parameters, recipe.grad_clip)))
        self._apply(norm, sums["loss"], progress)
        progress.step += 1
        rows = sum(len(plan.rows) for plan in group)
        progress.sums["rows"] = progress.sums.get("rows", 0.0) + rows
        for name, value in sums.items():
            progress.sums[name] = progress.sums.get(name, 0.0) + value * rows
        utterances = sum(plan.utterances for plan in group)
        return {**sums, "grad_norm": norm, "lr": rate, "utterances": utterances, "epoch": progress.epoch + 1}

    def _gradients(self, size: int, batches: Iterator[Batch], progress: Progress) -> dict[str, float]:
        """Add the gradients of all processes' batches to the parameters; return the means to log."""
        seen = torch.zeros(size, len(STATISTICS), dtype=torch.float64)
        turns = self.processes.turns(size)
        with self.method.step() if turns else nullcontext():
            for turn in turns:
                torch.manual_seed(
                    torch_seed(self.recipe.seed, progress.epoch, progress.position + turn.index)
                )
                batch = {name: tensor.to(self.device) for name, tensor in next(batches).items()}
                with self.mixed_precision():
                    loss, stats = self.learner.loss(batch)
                (loss * turn.weight / size).backward()  # type: ignore[no-untyped-call]
                if turn.weight:
                    values = [stats[name] if stats[name] is not None else 0.0 for name in STATISTICS]
                    seen[turn.index] = torch.tensor([float(value) for value in values], dtype=seen.dtype)
        self.processes.add_gradients(self.method.parameters.values())
        # Summed in the batches' order, so the log does not depend on the number of processes.
        sums = dict.fromkeys(STATISTICS, 0.0)
        for row in self.processes.total(seen).tolist():
            for name, value in zip(STATISTICS, row, strict=True):
                sums[name] += value / size
        return sums

    def _apply(self, norm: float, loss: float, progress: Progress) -> None:
        """Update the parameters, or skip a step whose gradient or loss is not finite.

        Raises SsvdError after MAX_SKIPPED_IN_A_ROW skipped steps.
        """
        if torch.isfinite(torch.tensor([norm, loss])).all():
            self.optimizer.step()
            progress.skipped_in_a_row = 0
            return
        progress.skipped_steps += 1
        progress.skipped_in_a_row += 1
        if progress.skipped_in_a_row >= MAX_SKIPPED_IN_A_ROW:
            raise SsvdError(
                f"the gradient was not finite for {MAX_SKIPPED_IN_A_ROW} steps running, up to step "
                f"{progress.step + 1} (loss {loss}); lower --lr, now {self.recipe.lr}"
            )
