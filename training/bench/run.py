"""One run of the benchmark, in a process of its own so that its peak of memory is its own.

python -m training.bench.run SPEC.json leaves the result, one JSON object, in the run's folder.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssvd_asr.errors import SsvdError
from ssvd_asr.factor_cache import write_atomically
from training.bench.bootstrap import interval
from training.bench.study import SEEDS, TEST_CORPORA, TESTS, Budget, Config, Task

if TYPE_CHECKING:
    from training.evaluate import Evaluation
    from training.session import Session

RESULT_FILE = "bench.json"
WARM_UP_STEPS = 5  # left out of the speed, where there are more


@dataclass(frozen=True)
class Spec:
    """What a run's process is told."""

    task: Task
    budget: Budget
    manifests: Mapping[str, Path]  # by corpus, "<domain>-<split>": the subset of this study
    folder: Path  # of the run
    device: str

    @property
    def tests(self) -> dict[str, Path]:
        """Manifests by test set: TESTS for the first seed, the run's own domain for the others."""
        domain = self.task.domain
        names = TESTS[domain] if self.task.seed == SEEDS[0] else (domain,)
        return {name: self.manifests[TEST_CORPORA[name]] for name in names}

    @cached_property
    def heard(self) -> frozenset[str]:
        """The words of the run's training data."""
        from training.bench.unseen import words_of

        return words_of(self.manifests[f"{self.task.domain}-train"])


def run(spec: Spec) -> dict[str, Any]:
    """Train, write and score. A run that diverges is a result too: no accuracy, and `failed` says why."""
    task, budget = spec.task, spec.budget
    found: dict[str, Any] = {
        "key": task.key, "stage": task.stage, "config": task.config.name, "group": task.config.group,
        "options": dict(task.config.options), "domain": task.domain, "lr": task.lr, "seed": task.seed,
    }  # fmt: skip
    session = _session(spec)
    try:
        fitted = session.fit()
    except SsvdError as error:
        if "not finite" not in str(error):
            raise  # bad data or settings are no property of the method
        return {**found, "failed": str(error), "valid_accuracy": None}
    found |= {
        "parameters": fitted.summary["parameters"],
        "steps": fitted.outcome.steps,
        "valid_accuracy": fitted.outcome.best_accuracy,
        "best_step": fitted.outcome.best_epoch * budget.batches_a_round,
        "peak_memory_bytes": _peak(),
        **_log(spec.folder / "log.jsonl"),
    }
    if task.stage == "final":
        result = fitted.finish(fitted.summary)
        # Of a peft method the adapter's own file; what was scored is merged weights.
        found |= {"bytes": result.get("adapter_bytes", result["bytes"]), **_scores(spec, result)}
    return found


def _session(spec: Spec) -> Session:
    from training.run_settings import RunSettings
    from training.session import Session

    task, budget = spec.task, spec.budget
    rounds = budget.lr_rounds if task.stage == "lr" else budget.rounds
    settings = RunSettings(
        domain=task.domain,
        data=spec.manifests[f"{task.domain}-train"],
        valid=spec.manifests[f"{task.domain}-valid"],
        out=spec.folder,
        device=spec.device,
        resume=(spec.folder / "checkpoint.safetensors").exists(),
        scored=False,  # `_scores` does, on more test sets
        progress=False,
        **task.config.options,
    )
    changes: dict[str, object] = {
        **({"lr": task.lr} if task.lr else {}),  # 0: nothing is trained
        "seed": task.seed,
        "epochs": rounds,
        "min_batches_per_epoch": budget.batches_a_round,
        "max_batches_per_epoch": budget.batches_a_round,
    }
    return Session(settings, changes, lambda line: print(line, file=sys.stderr, flush=True))


def _log(path: Path) -> dict[str, Any]:
    """The curve of validations as [step, loss, accuracy], and the median time of a step."""
    events = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    steps = [event for event in events if event["event"] == "train"]
    return {
        "curve": [
            [event["step"], event["valid_loss"], event["valid_acc"]]
            for event in events
            if event["event"] == "epoch"
        ],
        "audio_s_per_s": statistics.median(
            event["audio_s_per_s"] for event in steps[WARM_UP_STEPS:] or steps
        ),
    }


def _scores(spec: Spec, result: Mapping[str, Any]) -> dict[str, Any]:
    """Word error rates of what was written to disk, on each test set."""
    from ssvd_asr.adapted_model import adapt
    from ssvd_asr.adapter_reading import load_adapter
    from ssvd_asr.base.load import load_base
    from ssvd_asr.factor_cache import factorize
    from training.evaluate import evaluate
    from training.finish import load_weights

    base = load_base(device=spec.device, dtype="float32")
    options: dict[str, Any] = {}
    if "adapter" in result:
        factors = factorize(base)
        adapter = load_adapter(Path(result["adapter"]), base, factors).adapter.to(base.device)
        options = {"adapted": adapt(base.network, factors), "cores": adapter.cores(base.dtype)}
    else:
        load_weights(base, Path(result["weights"]))
        Path(result["weights"]).unlink()  # 17 MB a run, made again by the run itself
    return {
        "tests": {
            name: figures(evaluate(base, path, progress=False, **options), spec.heard)
            for name, path in spec.tests.items()
        }
    }


def zero_shot(spec: Spec) -> dict[str, Any]:
    """The base itself: WER on every test set, and its validation as step 0 of the domain's curves."""
    from ssvd_asr.base.load import load_base
    from training.evaluate import evaluate
    from training.validation import validate

    session = _session(spec)
    _, valid = session.load_data()
    found = validate(session.base.network, valid, session.rules.symbols, session.base.device, False)
    base = load_base(device=spec.device, dtype="float32")
    return {
        "key": spec.task.key, "stage": "base", "domain": spec.task.domain, "parameters": 0,
        "valid_accuracy": found.accuracy, "valid_loss": found.loss,
        "tests": {
            name: figures(evaluate(base, path, progress=False), spec.heard)
            for name, path in spec.tests.items()
        },
    }  # fmt: skip


def figures(found: Evaluation, heard: frozenset[str]) -> dict[str, Any]:
    """WER with its interval, and the errors of each utterance, for comparisons utterance by utterance.

    heard: the words of the training data; of the others, how many were recognised.
    """
    from ssvd_asr.scoring import score
    from training.bench.unseen import unseen_recall

    each = [score([one.reference], [one.hypothesis]) for one in found.decoded]
    errors = [one.substitutions + one.deletions + one.insertions for one in each]
    words = [one.reference_words for one in each]
    return {
        "wer": found.score.wer,
        "interval": interval(errors, words),
        "wer_raw": found.score.wer_raw,
        "insertions": found.score.insertions,  # a decoder that loops shows here
        "deletions": found.score.deletions,
        "unseen_words": unseen_recall(found.decoded, heard),
        "errors": errors,
        "words": words,
    }


def _peak() -> int:
    """Bytes: of the device where that is a GPU, else of this process."""
    import torch

    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def write_spec(path: Path, spec: Spec) -> None:
    """For the run's own process."""
    path.write_text(json.dumps(asdict(spec), default=str), encoding="utf-8")


def read_spec(path: Path) -> Spec:
    """What `write_spec` wrote."""
    told = json.loads(path.read_text(encoding="utf-8"))
    config = Config(**told["task"].pop("config"))
    return Spec(
        Task(config=config, **told["task"]),
        Budget(**told["budget"]),
        {name: Path(manifest) for name, manifest in told["manifests"].items()},
        Path(told["folder"]),
        told["device"],
    )


def main(argv: list[str]) -> int:
    """Carry out the run of a spec, and leave its result in the run's folder."""
    spec = read_spec(Path(argv[0]))
    found = zero_shot(spec) if spec.task.stage == "base" else run(spec)
    write_atomically(spec.folder / RESULT_FILE, json.dumps(found).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
