"""Specification of one run, passed to its process as a JSON file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from training.bench.study import SEEDS, TEST_CORPORA, TESTS, Budget, Config, Task


@dataclass(frozen=True)
class Spec:
    """Specification of a run for its process."""

    task: Task
    budget: Budget
    manifests: Mapping[str, Path]  # by corpus, "<domain>-<split>": this study's subset
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


def write_spec(path: Path, spec: Spec) -> None:
    """Write the spec for the run's process."""
    path.write_text(json.dumps(asdict(spec), default=str), encoding="utf-8")


def read_spec(path: Path) -> Spec:
    """Read a spec written by `write_spec`."""
    told = json.loads(path.read_text(encoding="utf-8"))
    config = Config(**told["task"].pop("config"))
    return Spec(
        Task(config=config, **told["task"]),
        Budget(**told["budget"]),
        {name: Path(manifest) for name, manifest in told["manifests"].items()},
        Path(told["folder"]),
        told["device"],
    )
