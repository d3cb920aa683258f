"""Which runs the benchmark of methods asks for: fair, in order, and each once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from training.bench.checks import MATCHED
from training.bench.configs import CONFIGS
from training.bench.study import DOMAINS, LEARNING_RATES, Budget, Config, Task, next_tasks, study_id

SSVD = Config("ssvd", "ssvd", {"method": "ssvd"}, seeds=2)
SMALL = Config("ssvd-small", "ssvd", {"method": "ssvd", "p": 0.1}, rate_of="ssvd")


def _run_all(configs: list[Config], accuracy: Callable[[Task], float | None]) -> list[Task]:
    """Carry out tasks until none is left; they come back in their order."""
    order: list[Task] = []
    done: list[dict[str, Any]] = []
    while tasks := next_tasks(configs, done):
        task = tasks[0]
        order.append(task)
        done.append({"key": task.key, "valid_accuracy": accuracy(task)})
        assert len(order) < 100
    return order


@pytest.mark.parametrize("best", range(len(LEARNING_RATES)))
def test_the_learning_rate_is_the_best_of_its_neighbourhood(best: int) -> None:
    def accuracy(task: Task) -> float:
        return 1.0 / (1 + abs(LEARNING_RATES.index(task.lr) - best)) if task.lr else 0.0

    tasks = _run_all([SSVD], accuracy)
    final = [task for task in tasks if task.stage == "final"]
    assert {task.lr for task in final} == {LEARNING_RATES[best]}
    tried = {LEARNING_RATES.index(task.lr) for task in tasks if task.stage == "lr"}
    assert {best - 1, best, best + 1} & set(range(len(LEARNING_RATES))) <= tried


def test_a_diverged_rate_is_never_chosen_over_one_that_learns() -> None:
    tasks = _run_all([SSVD], lambda task: 0.5 if task.lr < 1e-3 else None)
    assert {task.lr for task in tasks if task.stage == "final"} == {3e-4}


def test_sizes_share_the_rate_and_no_run_is_asked_for_twice() -> None:
    tasks = _run_all([SSVD, SMALL], lambda task: task.lr)
    assert len({task.key for task in tasks}) == len(tasks)
    assert {task.config.name for task in tasks if task.stage == "lr"} == {"ssvd"}
    final = [(task.config.name, task.domain, task.seed) for task in tasks if task.stage == "final"]
    assert sorted(final) == sorted(
        [("ssvd", domain, seed) for domain in DOMAINS for seed in (1, 2)]
        + [("ssvd-small", domain, 1) for domain in DOMAINS]
    )


def test_every_config_has_run_before_further_seeds() -> None:
    tasks = [task for task in _run_all([SSVD, SMALL], lambda task: task.lr) if task.stage == "final"]
    assert [task.seed for task in tasks] == sorted(task.seed for task in tasks)


def test_rows_that_are_compared_exist() -> None:
    names = {config.name for config in CONFIGS}
    assert names.issuperset(name for pair in MATCHED for name in pair)


def test_results_of_another_budget_base_or_corpus_are_another_study() -> None:
    one = study_id(Budget(), "sha256:a", {"child-train": "x"})
    assert one == study_id(Budget(), "sha256:a", {"child-train": "x"})
    assert len({
        one,
        study_id(Budget(rounds=9), "sha256:a", {"child-train": "x"}),
        study_id(Budget(), "sha256:b", {"child-train": "x"}),
        study_id(Budget(), "sha256:a", {"child-train": "y"}),
    }) == 4  # fmt: skip


def test_configs_have_names_of_their_own_and_rates_of_configs_that_choose_them() -> None:
    names = {config.name: config for config in CONFIGS}
    assert len(names) == len(CONFIGS)
    for config in CONFIGS:
        assert config.rate_of is None or names[config.rate_of].rate_of is None


def test_every_config_is_a_run_that_the_trainer_knows() -> None:
    from dataclasses import fields
    from typing import get_args

    from ssvd_asr.maps import MAPS
    from training.run_settings import RunSettings
    from training.settings import Method

    known = {field.name for field in fields(RunSettings)}
    for config in CONFIGS:
        assert config.options.keys() <= known, config.name
        assert config.options["method"] in get_args(Method)
        assert config.options.get("rotation_map", MAPS[0]) in MAPS
