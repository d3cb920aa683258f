"""Training loop: epochs of optimiser steps over groups of batches, with a validation after each epoch.

The loop knows neither adapters nor audio files: the `TrainingMethod` holds the parameters and the `Plan` the
batches. Every random number depends on the seed and the place in the run.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from ssvd_asr.base.learner import Learner
from ssvd_asr.errors import SsvdError
from ssvd_asr.progress import progress_bar, say
from training.corpus.batches import Batch, BatchPlan, Plan, training_batch
from training.corpus.dataset import Dataset
from training.corpus.prefetch import prefetch
from training.corpus.prompts import PromptSymbols
from training.loop import checkpoint
from training.loop.checkpoint import CheckpointError, Progress
from training.loop.interrupt import Stop, StoppedError
from training.loop.log import SilentLog, TrainingLog
from training.loop.optimisation import Optimisation
from training.loop.processes import ALONE, Processes
from training.loop.recompute import recomputed_layers
from training.loop.validation import Validation, validate
from training.methods.method import TrainingMethod
from training.recipe import Recipe

CHECKPOINT_EVERY_S = 60.0


@dataclass(frozen=True)
class Outcome:
    """Result of `Trainer.fit`. The method holds the best parameters if `finished`, else the latest."""

    finished: bool  # False: stopped early; the checkpoint continues from here
    epochs: int
    steps: int
    best_epoch: int | None
    best_accuracy: float | None
    skipped_steps: int
    elapsed_s: float
    audio_s: float


@dataclass
class Trainer:
    """Trainer of one run. Only `progress` and the method's parameters change."""

    learner: Learner
    method: TrainingMethod
    recipe: Recipe
    plan: Plan
    train: Dataset
    valid: Dataset
    symbols: PromptSymbols
    directory: Path
    identity: Mapping[str, Any]  # must agree for a checkpoint to be resumed
    device: torch.device
    autocast: bool = False  # bfloat16 where torch finds it safe
    recompute: bool = False  # gradient checkpointing of the layers
    processes: Processes = ALONE
    show_progress: bool = True
    checkpoint_every_s: float = CHECKPOINT_EVERY_S
    progress: Progress = field(default_factory=Progress)

    def __post_init__(self) -> None:
        most = self.recipe.accumulation
        if self.processes.count > most:
            raise SsvdError(
                f"{self.processes.count} processes share a step's batches, but --accumulation is {most}: "
                "raise it, best to a multiple of their number"
            )
        self.optimisation = Optimisation(
            self.learner,
            self.method,
            self.recipe,
            self.plan.total_steps,
            device=self.device,
            autocast=self.autocast,
            processes=self.processes,
        )
        self.best: dict[str, Tensor] = {}
        self._saved_at = time.monotonic()
        self._saving_s = 0.0  # time of the last save; slow saves are made less often

    @property
    def checkpoint_path(self) -> Path:
        """The run's one checkpoint file."""
        return self.directory / checkpoint.FILE_NAME

    def resume(self) -> None:
        """Restore the checkpoint. Raises CheckpointError if there is none or it is of another run."""
        if not self.checkpoint_path.is_file():
            raise CheckpointError(f"nothing to resume: {self.checkpoint_path} does not exist")
        self.progress, self.best = checkpoint.load_checkpoint(
            self.checkpoint_path, self.identity, self.method.parameters, self.optimisation.optimizer
        )

    def fit(self, stop: Stop = lambda: False) -> Outcome:
        """Train to the end, or until ``stop()`` is true after an optimiser step or in a validation.

        The caller's random state is unchanged. Raises SsvdError if the gradient or loss stays non-finite.
        """
        devices = [self.device] if self.device.type == "cuda" else []
        with ExitStack() as stack:
            stack.enter_context(torch.random.fork_rng(devices))
            stack.enter_context(self.learner.training(self.recipe))
            if self.recompute:
                stack.enter_context(recomputed_layers(self.learner.layers()))
            log = self._open_log()
            stack.enter_context(log)
            bar = stack.enter_context(
                progress_bar(
                    total=self.plan.total_steps,
                    initial=self.progress.step,
                    desc="training",
                    unit="step",
                    disable=not self.show_progress,
                )
            )
            while not self.progress.finished:
                stopped = not self._epoch(log, bar, stop) or not self._end_epoch(log, bar, stop)
                self._save(log)
                if stopped or self.processes.any(stop())[0]:
                    return self._outcome(finished=False)
        self._check_converged()
        self._restore_best()
        return self._outcome(finished=True)

    def _epoch(self, log: TrainingLog | SilentLog, bar: tqdm[Any], stop: Stop) -> bool:
        """Train the rest of the current epoch; return False if stopped."""
        progress, epoch = self.progress, self.progress.epoch
        plans = self.plan.epoch(epoch)
        with closing(prefetch(self._builders(plans, epoch, progress.position))) as batches:
            while progress.position < len(plans):
                group = plans[progress.position : progress.position + self.recipe.accumulation]
                began = time.monotonic()
                values = self.optimisation.step(group, batches, progress)
                progress.elapsed_s += time.monotonic() - began
                progress.audio_s += (audio_s := sum(plan.padded_s for plan in group))
                progress.position += len(group)
                values["audio_s_per_s"] = audio_s / max(1e-9, time.monotonic() - began)
                log.write("train", progress.step, values)
                bar.update()
                bar.set_postfix_str(
                    f"epoch {epoch + 1}/{self.recipe.epochs} loss {values['loss']:.2f} "
                    f"acc {values['acc']:.3f} {values['audio_s_per_s']:.0f}x real time"
                )
                due = time.monotonic() - self._saved_at > max(self.checkpoint_every_s, 20 * self._saving_s)
                stopped, due = self.processes.any(stop(), due)
                if stopped:
                    return False
                if due:
                    self._save(log)
        return True

    def _builders(
        self, plans: Sequence[BatchPlan], epoch: int, position: int
    ) -> Iterator[Callable[[], Batch]]:
        """Yield builders of this process's batches of the epoch from `position` on."""
        accumulation = self.recipe.accumulation
        for start in range(position, len(plans), accumulation):
            for turn in self.processes.turns(min(accumulation, len(plans) - start)):
                i = start + turn.index
                yield partial(training_batch, self.train, plans[i], self.symbols, self.recipe, epoch, i)

    def _end_epoch(self, log: TrainingLog | SilentLog, bar: tqdm[Any], stop: Stop) -> bool:
        """Validate, keep the parameters if they are the best, and decide whether training has ended.

        Returns False, with nothing changed, if it was stopped before the end of the validation.
        """
        progress, recipe = self.progress, self.recipe
        try:
            found = self._validate(stop)
        except StoppedError:
            return False
        progress.epoch += 1
        progress.position = 0
        finite = math.isfinite(found.loss) and math.isfinite(found.accuracy)
        if finite and (progress.best_accuracy is None or found.accuracy > progress.best_accuracy):
            progress.best_accuracy, progress.best_epoch = found.accuracy, progress.epoch
            progress.epochs_since_best = 0
            self.best = {name: value.detach().clone() for name, value in self.method.parameters.items()}
        else:
            progress.epochs_since_best += 1
        rows = max(1.0, progress.sums.pop("rows", 0.0))
        means = {f"train_{name}": value / rows for name, value in progress.sums.items()}
        progress.sums = {}
        log.write(
            "epoch",
            progress.step,
            {"epoch": progress.epoch, **means, "valid_loss": found.loss, "valid_acc": found.accuracy},
        )
        if self.show_progress:
            best = "none" if progress.best_accuracy is None else f"{progress.best_accuracy:.4f}"
            say(
                bar,
                f"epoch {progress.epoch}/{recipe.epochs}: loss {means['train_loss']:.2f}, valid loss "
                f"{found.loss:.2f}, accuracy {found.accuracy:.4f}, best {best}",
                error=True,
            )
        impatient = recipe.patience is not None and progress.epochs_since_best >= recipe.patience
        progress.finished = progress.epoch >= recipe.epochs or impatient
        return True

    def _validate(self, stop: Stop) -> Validation:
        # Several processes must stop at the same place, and count different batches here: between steps.
        asked = stop if self.processes.count == 1 else lambda: False
        with self.method.using(), self.optimisation.mixed_precision():
            return validate(
                self.learner, self.valid, self.symbols, self.device, self.show_progress, self.processes, asked
            )

    def _open_log(self) -> TrainingLog | SilentLog:
        if not self.processes.first:
            return SilentLog()
        return TrainingLog(self.directory, keep_bytes=self.progress.log_bytes, first_step=self.progress.step)

    def _save(self, log: TrainingLog | SilentLog) -> None:
        began = time.monotonic()
        self.progress.log_bytes = log.position()
        checkpoint.save_checkpoint(
            self.checkpoint_path,
            self.progress,
            self.identity,
            self.method.parameters,
            self.optimisation.optimizer,
            self.best,
            write=self.processes.first,
        )
        self._saved_at = time.monotonic()
        self._saving_s = self._saved_at - began

    def _check_converged(self) -> None:
        progress = self.progress
        if progress.best_epoch is None:
            raise SsvdError(
                f"training diverged: the loss on the validation data was not finite after any of "
                f"{progress.epoch} epochs, and {progress.skipped_steps} of {progress.step} steps were "
                f"skipped; lower --lr, now {self.recipe.lr:g}"
            )

    def _restore_best(self) -> None:
        with torch.no_grad():
            for name, value in self.best.items():
                self.method.parameters[name].copy_(value)

    def _outcome(self, *, finished: bool) -> Outcome:
        progress = self.progress
        return Outcome(
            finished=finished,
            epochs=progress.epoch,
            steps=progress.step,
            best_epoch=progress.best_epoch,
            best_accuracy=progress.best_accuracy,
            skipped_steps=progress.skipped_steps,
            elapsed_s=progress.elapsed_s,
            audio_s=progress.audio_s,
        )
