"""A training run from data and base to an adapter file with its figures.

The run's folder holds data-report.json, log.jsonl, tensorboard/, checkpoint.safetensors, adapter.safetensors
(or weights.safetensors for full fine-tuning and peft methods) and result.json.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ssvd_asr.errors import SsvdError, StoreUnwritableError
from training.corpus.dataset import Dataset, Rules
from training.corpus.prompts import PromptSymbols
from training.loop.data import load_data
from training.loop.interrupt import Stop, never_stop
from training.loop.processes import ALONE, Processes
from training.methods.choices import check_choices
from training.methods.finish import ADAPTER_FILE, WEIGHTS_FILE
from training.recipe import Recipe, recipe_for
from training.run_settings import RunSettings

if TYPE_CHECKING:
    from ssvd_asr.base.model import BaseModel
    from training.loop.trainer import Outcome, Trainer

REPORT_FILE = "data-report.json"
RESULT_FILE = "result.json"


@dataclass(frozen=True)
class Fitted:
    """The outcome and summary of training, and `finish`, which writes, scores and returns the result."""

    outcome: Outcome
    summary: dict[str, Any]
    finish: Callable[[dict[str, Any]], dict[str, Any]]


@dataclass
class Session:
    """The parts of a run, each built on first use."""

    settings: RunSettings
    changes: Mapping[str, object]  # to the base's default recipe
    report: Callable[[str], None] = lambda _: None  # takes lines to print
    processes: Processes = ALONE

    @cached_property
    def base(self) -> BaseModel:
        """The base in float32; bfloat16 training uses autocast and keeps the weights exact."""
        from ssvd_asr.base.load import load_base

        settings = self.settings
        device = settings.device if self.processes.device is None else str(self.processes.device)
        return load_base(settings.base, device, "float32", settings.config, settings.checkpoint)

    @cached_property
    def recipe(self) -> Recipe:
        """The default recipe for the base and the method, with `changes`."""
        has_ctc = self.base.ctc_head is not None
        recipe = recipe_for(self.base_parameters, self.settings.method, has_ctc=has_ctc)
        return recipe.changed(**self.changes)

    @cached_property
    def base_parameters(self) -> int:
        """Number of weights of the base. Must be read before a method adds its own."""
        return sum(parameter.numel() for parameter in self.base.network.parameters())

    @cached_property
    def rules(self) -> Rules:
        """Requirements of the base and the recipe for an utterance."""
        base = self.base
        silence = np.zeros(base.window.samples, np.float32)
        frames = base.encode([silence]).shape[1]
        symbols = PromptSymbols.of(base.window, base.tokens, self.settings.language)
        # The decoder reads the token that begins a prompt, language and task, two times and the pieces.
        told = [base.tokens.sos, *symbols.head, symbols.first_time, symbols.last_time]
        return Rules(
            tokens=base.tokens,
            symbols=symbols,
            window_s=base.window.duration_s,
            window_frames=frames,
            normalise_text=self.recipe.normalise_text,
            has_ctc=base.ctc_head is not None,
            most_pieces=None if base.ctc_head is not None else base.most_tokens(told, frames) - 1,
        )

    def run(self, guard: Callable[[], AbstractContextManager[Stop]] = never_stop) -> dict[str, Any]:
        """Train, save and score. Return the result as JSON values; ``finished`` is False if training stopped.

        Args:
            guard: a context around the training loop, which stops once the yielded function returns true.

        Raises SsvdError for data, base, settings or a folder that make the run impossible, and OSError for a
        file that cannot be written; once there is a checkpoint, SsvdError with how to go on. It is told for
        KeyboardInterrupt too.
        """
        try:
            return self._run(guard)
        except KeyboardInterrupt:
            if hint := self._how_to_go_on():
                self.report(f"stopped; {hint}")
            raise
        except (OSError, StoreUnwritableError) as error:  # a full disk, as a rule
            hint = self._how_to_go_on()
            if not hint or isinstance(error, BrokenPipeError):
                raise
            raise SsvdError(f"{error}; {hint}") from error

    def _how_to_go_on(self) -> str:
        """Return the options that continue the run; empty if there is no checkpoint."""
        from training.loop import checkpoint

        out = self.settings.out
        return f"go on with --resume --out {out}" if (out / checkpoint.FILE_NAME).exists() else ""

    def _run(self, guard: Callable[[], AbstractContextManager[Stop]]) -> dict[str, Any]:
        fitted = self.fit(guard)
        if not fitted.outcome.finished:
            self.report(f"stopped at step {fitted.outcome.steps}; {self._how_to_go_on()}")
            return fitted.summary
        if not self.processes.first:
            return fitted.summary
        result = fitted.finish(fitted.summary)
        self._write_result(result)
        return result

    def _write_result(self, result: Mapping[str, Any]) -> None:
        from ssvd_asr.basis.cache import write_atomically

        write_atomically(self.settings.out / RESULT_FILE, (json.dumps(result, indent=1) + "\n").encode())

    def fit(self, guard: Callable[[], AbstractContextManager[Stop]] = never_stop) -> Fitted:
        """Train only. Arguments and errors are those of `run`."""
        check_choices(self.settings)
        self._claim_folder()
        train, valid = self.load_data()
        trainer, finish = self.build(train, valid)
        if self.settings.resume:
            trainer.resume()
            self.report(f"resumed at step {trainer.progress.step} of {trainer.plan.total_steps}")
        with guard() as stop:
            outcome = trainer.fit(stop)
            if outcome.finished and stop():  # since the last look
                raise KeyboardInterrupt
        if outcome.finished:
            self.processes.gather(self.base)
        return Fitted(outcome, self._summary(train, valid, trainer, outcome), finish)

    def _claim_folder(self) -> None:
        """Create the folder. Raises SsvdError if it holds another run, or none to resume."""
        from training.loop import checkpoint

        out, there = self.settings.out, self.settings.out / checkpoint.FILE_NAME
        if self.settings.resume and not there.exists():
            raise checkpoint.CheckpointError(f"nothing to resume: {there} does not exist")
        if there.exists() and not self.settings.resume:
            raise SsvdError(
                f"{there} is the checkpoint of a run: go on with --resume, or choose another --out"
            )
        out.mkdir(parents=True, exist_ok=True)

    def load_data(self) -> tuple[Dataset, Dataset]:
        """Load training and validation data and write the report, even if too little is usable."""
        write = self.settings.out / REPORT_FILE if self.processes.first else None
        return load_data(self.settings, self.rules, write, self.report)

    def build(
        self, train: Dataset, valid: Dataset
    ) -> tuple[Trainer, Callable[[dict[str, Any]], dict[str, Any]]]:
        """Return the trainer and the method's `finish`."""
        import torch

        from ssvd_asr.device import resolve_dtype, slow_in
        from training.corpus.batches import Plan
        from training.loop.identity import identity_of
        from training.loop.trainer import Trainer
        from training.methods.build import build_method

        settings, base, recipe = self.settings, self.base, self.recipe
        autocast = resolve_dtype(settings.dtype, base.device) is torch.bfloat16
        if autocast and slow_in(torch.bfloat16, base.device):
            raise SsvdError("dtype 'bfloat16': this CPU has no instructions for it, float32 is faster")
        if self.processes.sharded:
            if (settings.method, settings.scope) != ("full", "all"):
                raise SsvdError(f"--shard is for --method full of all layers, not {settings.method}")
            base.network.requires_grad_(True)
            self.processes.shard(base.learner)
        rules = self.rules
        plan = Plan(recipe, train, base.window.samples, rules.window_frames, rules.most_pieces)
        of = self.base_parameters
        built = build_method(settings, base, recipe, self.report)
        trained = sum(parameter.numel() for parameter in built.method.parameters.values())
        if not trained:
            raise SsvdError(
                f"--method {settings.method} of this size trains nothing: one direction has no rotation, "
                "and --no-delta-sigma leaves no scale; ask for k of 2 or more"
            )
        among = f", in {self.processes.count} processes" if self.processes.count > 1 else ""
        self.report(f"training {trained:,} parameters, {trained / of:.2%} of the base's {of:,}{among}")
        trainer = Trainer(
            learner=base.learner,
            method=built.method,
            recipe=recipe,
            plan=plan,
            train=train,
            valid=valid,
            symbols=self.rules.symbols,
            directory=settings.out,
            identity=identity_of(
                settings,
                recipe,
                base_digest=base.digest,
                train=train,
                valid=valid,
                autocast=autocast,
                method=built.options,
            ),
            device=base.device,
            autocast=autocast,
            recompute=settings.recompute,
            processes=self.processes,
            show_progress=settings.progress,
        )
        return trainer, built.finish

    def _summary(self, train: Dataset, valid: Dataset, trainer: Trainer, outcome: Outcome) -> dict[str, Any]:
        """Return the figures known before scoring; they become the adapter's `training` field."""
        settings = self.settings
        return {
            "domain": settings.domain,
            "method": settings.method,
            "language": settings.language,
            "parameters": sum(parameter.numel() for parameter in trainer.method.parameters.values()),
            "base_parameters": self.base_parameters,
            "data": {
                role: {
                    "name": Path(data.report.source).name,
                    "utterances": data.report.usable,
                    "left_out": data.report.counts,
                    "audio_s": round(data.audio_s, 3),
                    "digest": data.digest,
                }
                for role, data in (("train", train), ("valid", valid))
            },
            "recipe": self.recipe.model_dump(),
            "device": str(self.base.device),
            **asdict(outcome),
        }


__all__ = ["ADAPTER_FILE", "REPORT_FILE", "RESULT_FILE", "WEIGHTS_FILE", "RunSettings", "Session"]
