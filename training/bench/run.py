"""One run of the benchmark, in its own process so that its peak memory can be measured.

python -m training.bench.run SPEC.json writes the result, one JSON object, into the run's folder.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ssvd_asr.basis.cache import write_atomically
from ssvd_asr.errors import SsvdError
from training.bench.scores import base_scores, scores
from training.bench.spec import Spec, read_spec
from training.bench.study import BASE, STAGES, Task

if TYPE_CHECKING:
    from training.loop.run import Session

RESULT_FILE = "bench.json"
MEMORY = "--memory"  # measure the memory of a step only


def run(spec: Spec) -> dict[str, Any]:
    """Train, write and score. A diverged run gives a result with `failed` (the reason) and no accuracy."""
    task, budget = spec.task, spec.budget
    found = _names(task)
    session = _session(spec)
    try:
        fitted = session.fit()
    except SsvdError as error:
        if "not finite" not in str(error):
            raise  # bad data or settings, not a property of the method
        return {**found, "failed": str(error), "valid_accuracy": None}
    best_round = fitted.outcome.best_epoch
    assert best_round is not None  # every round is validated
    found |= {
        "parameters": fitted.summary["parameters"],
        "steps": fitted.outcome.steps,
        "valid_accuracy": fitted.outcome.best_accuracy,
        "best_step": best_round * budget.batches_a_round,
        "curve": _curve(spec.folder / "log.jsonl"),
    }
    if task.stage in STAGES:
        result = fitted.finish(fitted.summary)
        # For a peft method the size of the adapter's file; the scores are of merged weights.
        found |= {"bytes": result.get("adapter_bytes", result["bytes"]), **scores(spec, result)}
    return found


def _names(task: Task) -> dict[str, Any]:
    return {
        "key": task.key, "stage": task.stage, "config": task.config.name, "group": task.config.group,
        "options": dict(task.config.options), "domain": task.domain, "lr": task.lr, "seed": task.seed,
    }  # fmt: skip


def _session(spec: Spec) -> Session:
    from training.loop.run import Session
    from training.run_settings import RunSettings

    task, budget = spec.task, spec.budget
    rounds = budget.lr_rounds if task.stage == "lr" else budget.rounds
    settings = RunSettings(
        domain=task.domain,
        data=spec.manifests[f"{task.domain}-train"],
        valid=spec.manifests[f"{task.domain}-valid"],
        out=spec.folder,
        device=spec.device,
        resume=(spec.folder / "checkpoint.safetensors").exists(),
        scored=False,  # `scores` decodes more test sets
        scale=1.0,  # `scores` chooses another
        progress=False,
        **task.config.options,
    )
    changes: dict[str, object] = {
        **({"lr": task.lr} if task.lr else {}),  # 0: nothing is trained
        "seed": task.seed,
        "epochs": rounds,
        "min_batches_per_epoch": budget.batches_a_round,
        "max_batches_per_epoch": budget.batches_a_round,
        "joined_share": 0.0,  # the recorded runs had single utterances only; joined ones are another study
    }
    return Session(settings, changes, lambda line: print(line, file=sys.stderr, flush=True))


def _curve(path: Path) -> list[list[float]]:
    """Return the validations as [step, loss, accuracy]."""
    events = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [[e["step"], e["valid_loss"], e["valid_acc"]] for e in events if e["event"] == "epoch"]


def cost(spec: Spec, path: Path) -> dict[str, Any]:
    """Return time and memory of a step. `path` is the file of `spec`, for the memory process."""
    from training.bench.cost import step_seconds
    from training.bench.peak_memory import RETURNED

    command = [sys.executable, "-m", "training.bench.run", str(path), MEMORY]
    done = subprocess.run(command, env={**os.environ, **RETURNED}, stdout=subprocess.PIPE, check=True)
    return {
        **_names(spec.task),
        "step_s": _measured(spec, step_seconds),
        "step_bytes": int(done.stdout),
    }


def _measured[T](spec: Spec, measure: Callable[[Session], T]) -> T:
    """Return what `measure` finds in a temporary run, which it stops before the first validation."""
    with TemporaryDirectory(dir=spec.folder) as folder:
        budget = replace(spec.budget, rounds=1, batches_a_round=10_000)
        return measure(_session(replace(spec, folder=Path(folder), budget=budget)))


def zero_shot(spec: Spec) -> dict[str, Any]:
    """Return the base's figures on every test set, and its validation as step 0 of the curves."""
    from training.loop.validation import validate

    session = _session(spec)
    _, valid = session.load_data()
    found = validate(session.base.learner, valid, session.rules.symbols, session.base.device, False)
    return {
        "key": spec.task.key, "stage": spec.task.stage, "domain": spec.task.domain, "parameters": 0,
        "valid_accuracy": found.accuracy, "valid_loss": found.loss, **base_scores(spec),
    }  # fmt: skip


def main(argv: list[str]) -> int:
    """Carry out the run of a spec and write its result into the run's folder."""
    path = Path(argv[0])
    spec = read_spec(path)
    if MEMORY in argv[1:]:
        from training.bench.cost import step_bytes

        print(_measured(spec, step_bytes))
        return 0
    if spec.task.stage == "cost":
        found = cost(spec, path)
    else:
        found = zero_shot(spec) if spec.task.config.name == BASE.name else run(spec)
    write_atomically(spec.folder / RESULT_FILE, json.dumps(found).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
