"""Which runs the benchmark of methods asks for: fair, in order, and each once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from training.bench.checks import BUDGETS, LARGER, MATCHED, OF_ITS_SIZE
from training.bench.configs import CONFIGS
from training.bench.study import (
    BASE,
    DOMAINS,
    LEARNING_RATES,
    REACH,
    Budget,
    Config,
    Task,
    at_edge,
    current,
    next_tasks,
    study_id,
)
from training.methods.choices import check_choices
from training.run_settings import RunSettings

SSVD = Config("ssvd", "ssvd", {"method": "ssvd"}, seeds=2)
SMALL = Config("ssvd-small", "ssvd", {"method": "ssvd", "p": 0.1}, rate_of="ssvd")


def _result(task: Task, accuracy: float | None) -> dict[str, Any]:
    result: dict[str, Any] = {"key": task.key, "stage": task.stage, "lr": task.lr, "valid_accuracy": accuracy}
    if task.config is not BASE:
        result |= {"config": task.config.name, "options": dict(task.config.options)}
    return result


def _run_all(configs: list[Config], accuracy: Callable[[Task], float | None]) -> list[Task]:
    """Carry out tasks until none is left; they come back in their order."""
    order: list[Task] = []
    done: list[dict[str, Any]] = []
    while tasks := next_tasks(configs, done):
        task = tasks[0]
        order.append(task)
        done.append(_result(task, accuracy(task)))
        assert len(order) < 100
    return order


def _chosen(tasks: list[Task]) -> float:
    """The rate of further seeds."""
    (rate,) = {task.lr for task in tasks if task.stage == "final" and task.seed > 1}
    return rate


@pytest.mark.parametrize("best", range(len(LEARNING_RATES)))
def test_the_learning_rate_is_the_best_of_its_neighbourhood(best: int) -> None:
    def accuracy(task: Task) -> float:
        return 1.0 / (1 + abs(LEARNING_RATES.index(task.lr) - best)) if task.lr else 0.0

    tasks = _run_all([SSVD], accuracy)
    assert _chosen(tasks) == LEARNING_RATES[best]
    tried = {LEARNING_RATES.index(task.lr) for task in tasks if task.stage == "lr"}
    assert set(range(best - REACH, best + REACH + 1)) & set(range(len(LEARNING_RATES))) <= tried


def test_neither_a_dip_nor_a_plateau_of_one_rate_ends_the_search() -> None:
    accuracies = dict(zip(LEARNING_RATES, (0.5, 0.5, 0.6, 0.59, 0.7, 0.7, 0.8, 0.1), strict=True))
    tasks = _run_all([SSVD], lambda task: accuracies.get(task.lr, 0.0))
    assert _chosen(tasks) == LEARNING_RATES[6]


def test_the_whole_grid_is_tried_where_one_neighbourhood_may_not_have_the_best() -> None:
    accuracies = dict(zip(LEARNING_RATES, (0.5, 0.6, 0.7, 0.1, 0.1, 0.1, 0.8, 0.2), strict=True))
    found = [
        _run_all([replace(SSVD, whole_grid=whole)], lambda t: accuracies.get(t.lr)) for whole in (False, True)
    ]
    assert [_chosen(tasks) for tasks in found] == [LEARNING_RATES[2], LEARNING_RATES[6]]


def test_as_many_right_tokens_are_a_tie_however_their_batches_were_summed() -> None:
    last_digits = {LEARNING_RATES[0]: 0.82657753, LEARNING_RATES[2]: 0.82657751}
    tasks = _run_all([SSVD], lambda task: last_digits.get(task.lr, 0.8))
    assert _chosen(tasks) == LEARNING_RATES[2]  # the nearer one


def test_a_rate_where_the_grid_ends_is_told() -> None:
    assert [rate for rate in LEARNING_RATES if at_edge(rate)] == [LEARNING_RATES[0], LEARNING_RATES[-1]]


def test_results_of_other_options_under_the_same_name_do_not_count() -> None:
    done: list[dict[str, Any]] = []
    while tasks := next_tasks([SSVD], done):
        done += [_result(task, task.lr) for task in tasks]
    changed = replace(SSVD, options={"method": "ssvd", "p": 0.5})
    assert {task.stage for task in next_tasks([changed], done)} == {"lr", "cost"}
    assert all("config" not in result for result in current([changed], done))
    once = current([SSVD], done)
    assert current([SSVD], [*done, *done]) == once  # a line that stands there twice is one run
    assert {result["lr"] for result in once if result["stage"] == "final"} == {LEARNING_RATES[-1]}


def test_a_part_of_the_study_takes_rates_of_configs_outside_it() -> None:
    done: list[dict[str, Any]] = []
    while tasks := next_tasks([SSVD], done):
        done += [_result(task, task.lr) for task in tasks]
    tasks = next_tasks([SMALL], done, [SSVD, SMALL])
    assert {(task.stage, task.config.name) for task in tasks} == {("final", SMALL.name), ("cost", SMALL.name)}


def test_a_diverged_rate_is_never_chosen_over_one_that_learns() -> None:
    tasks = _run_all([SSVD], lambda task: 0.5 if task.lr < 1e-3 else None)
    assert _chosen(tasks) == 3e-4


def test_sizes_share_the_rate_and_no_run_is_asked_for_twice() -> None:
    tasks = _run_all([SSVD, SMALL], lambda task: task.lr)
    assert len({task.key for task in tasks}) == len(tasks)
    assert {task.config.name for task in tasks if task.stage == "lr"} == {"ssvd"}
    final = [
        (task.config.name, task.domain, task.seed)
        for task in tasks
        if task.stage == "final" and task.lr == _chosen(tasks)
    ]
    assert sorted(final) == sorted(
        [("ssvd", domain, seed) for domain in DOMAINS for seed in (1, 2)]
        + [("ssvd-small", domain, 1) for domain in DOMAINS]
    )


def test_every_config_has_run_before_further_seeds() -> None:
    tasks = [task for task in _run_all([SSVD, SMALL], lambda task: task.lr) if task.stage == "final"]
    tasks = [task for task in tasks if task.lr == _chosen(tasks)]
    assert [task.seed for task in tasks] == sorted(task.seed for task in tasks)


def test_rows_of_several_seeds_run_once_at_the_rates_beside_the_chosen_one_at_the_end() -> None:
    tasks = _run_all([SSVD, SMALL], lambda task: -abs(task.lr - 3e-3))
    beside = [
        (task.config.name, task.lr, task.domain, task.seed) for task in tasks if task.lr in (1e-3, 1e-2)
        if task.stage == "final"
    ]  # fmt: skip
    assert beside == [("ssvd", lr, domain, 1) for lr in (1e-3, 1e-2) for domain in DOMAINS]
    assert [task.stage for task in tasks[-len(beside) :]] == ["final"] * len(beside)
    assert _chosen(tasks[: -len(beside)]) == 3e-3


def test_rows_that_are_compared_exist() -> None:
    names = {config.name for config in CONFIGS}
    assert names.issuperset(name for pair in (*MATCHED, *BUDGETS) for name in pair)
    assert names.issuperset([LARGER, *OF_ITS_SIZE])


def test_the_rows_that_matter_have_three_seeds_and_only_vera_s_rates_are_all_tried() -> None:
    several = {config.name for config in CONFIGS if config.seeds > 1}
    rotations = {f"ssvd-first-order-p{p}" for p in (40, 60, 80)} | {"ssvd-cayley-p40", "ssvd-encoder-p46"}
    others = {"ssvd-free-p28", "ssvd-free-p42", "full", "lora-r3", "pissa-r3", "dora-r3", "vera-linears-r64"}
    assert several == rotations | others
    assert {config.name for config in CONFIGS if config.whole_grid} == {"vera-r64", "vera-r128"}


def test_results_of_another_budget_base_or_corpus_are_another_study() -> None:
    one = study_id(Budget(), "sha256:a", {"child-train": "x"})
    assert one == study_id(Budget(), "sha256:a", {"child-train": "x"})
    assert len({
        one,
        study_id(Budget(rounds=9), "sha256:a", {"child-train": "x"}),
        study_id(Budget(), "sha256:b", {"child-train": "x"}),
        study_id(Budget(), "sha256:a", {"child-train": "y"}),
        study_id(Budget(), "sha256:a", {"child-train": "x"}, "cuda"),
    }) == 5  # fmt: skip


def test_configs_have_names_of_their_own_and_rates_of_configs_that_choose_them() -> None:
    names = {config.name: config for config in CONFIGS}
    assert len(names) == len(CONFIGS)
    for config in CONFIGS:
        assert config.rate_of is None or names[config.rate_of].rate_of is None


def test_every_config_is_a_run_that_the_trainer_knows() -> None:
    for config in CONFIGS:
        check_choices(RunSettings(domain="x", data=Path(), valid=Path(), out=Path(), **config.options))


def test_recommended_configs_run_again_at_their_rate_for_the_default_search() -> None:
    tasks = _run_all([replace(SSVD, checked=True), SMALL], lambda task: 0.9 if task.lr == 3e-3 else 0.5)
    checked = [task for task in tasks if task.stage == "checked"]
    assert [task.key for task in checked if task.config is BASE] == [
        f"checked/base/{domain}/lr0/seed1" for domain in DOMAINS
    ]
    others = [task for task in checked if task.config is not BASE]
    assert {(task.config.name, task.domain, task.seed) for task in others} == {
        ("ssvd", domain, seed) for domain in DOMAINS for seed in (1, 2)
    }
    assert {task.lr for task in others} == {3e-3}
