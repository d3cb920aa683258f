"""Each figure of the table is what its column says, and of the runs that were asked for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ssvd_asr.errors import DataError
from training.bench.checks import Runs
from training.bench.configs import CONFIGS
from training.bench.figures import CONVERGING, MATCHED_SIZE, matched
from training.bench.report import REFERENCE, write_report
from training.bench.study import DOMAINS, LEARNING_RATES, TESTS, Budget, Config, Task, current, next_tasks
from training.bench.tables import Counts, Entry, entries, pareto, steps_to_gain

CHILD = DOMAINS[0]
OURS = Config(REFERENCE, "ssvd first-order", {}, seeds=2)
SMALL = Config("ssvd-small", "ssvd first-order", {}, rate_of=REFERENCE)
OTHER = Config("lora-r3", "lora", {})


def figures(errors: Sequence[int], words: Sequence[int] = (4, 4)) -> dict[str, Any]:
    wer = sum(errors) / sum(words)
    return {"wer": wer, "errors": list(errors), "words": list(words), "unseen_words": [1, 5], "insertions": 0}


VOICES = {"key": "voices", "study": "s", "stage": "voices", "tests": {CHILD: [0, 1]}}


def base(domain: str = CHILD) -> dict[str, Any]:
    tests = {name: figures([4, 4]) for name in TESTS[domain]}
    return {"key": f"base/{domain}", "study": "s", "stage": "base", "domain": domain, "valid_accuracy": 0.5,
            "tests": tests}  # fmt: skip


def final(
    config: Config, errors: Sequence[int], seed: int = 1, lr: float = 1e-3, **more: Any
) -> dict[str, Any]:
    tests = {name: figures([0, 1]) for name in TESTS[CHILD]}
    tests[CHILD] = figures(errors)
    return {
        "key": f"final/{config.name}/{CHILD}/lr{lr:g}/seed{seed}", "study": "s", "stage": "final",
        "config": config.name, "options": {}, "group": config.group, "domain": CHILD, "lr": lr, "seed": seed,
        "parameters": 600_000, "bytes": 2_500_000, "curve": [[30, 1.0, 0.8], [60, 1.0, 0.89], [90, 1.0, 0.9]],
        "tests": tests, **more,
    }  # fmt: skip


def tried(config: Config, best: float) -> list[dict[str, Any]]:
    """Runs that choose `best`."""
    return [
        {
            "key": f"lr/{config.name}/{CHILD}/lr{lr:g}/seed1", "study": "s", "stage": "lr", "domain": CHILD,
            "config": config.name, "options": {}, "lr": lr, "seed": 1,
            "valid_accuracy": 1.0 if lr == best else 0.5,
        }
        for lr in LEARNING_RATES
    ]  # fmt: skip


def test_every_cell_is_what_its_column_says(tmp_path: Path) -> None:
    cost = {"key": "cost", "study": "s", "stage": "cost", "config": SMALL.name, "options": {}, "step_s": 0.25,
            "step_bytes": 3 * 2**20}  # fmt: skip
    basis = {**cost, "key": "basis", "stage": "basis", "bytes": 2 * 2**20}
    results = [VOICES, base(), *tried(OURS, 1e-3), final(OURS, [1, 1]), final(OURS, [2, 0], 2), cost, basis,
               final(SMALL, [0, 12])]  # fmt: skip
    page = write_report(results, [OURS, SMALL], Budget(), tmp_path)[0].read_text(encoding="utf-8")
    lines = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("|")]
    row = dict(zip(lines[0], next(line for line in lines if line[0] == SMALL.name), strict=True))
    assert row == {
        "config": SMALL.name, "lr": f"0.001 ({REFERENCE})", "parameters": "600,000", "file": "2.50 MB",
        "WER": "150.0%", "interval": "0.0% to 300.0%", "capped": "50.0%", "adult": "12.5%",
        "steps to 90 %": "60", "step": "0.25 s", "memory": "5 MiB",
        f"over {REFERENCE}": "+125.0% (-25.0% to +275.0%)",
    }  # fmt: skip
    assert "25.0%, 25.0%" in page  # one value a seed


def test_the_page_that_is_kept_says_what_the_results_that_are_kept_say(tmp_path: Path) -> None:
    kept = Path(__file__).parents[3] / "docs" / "results"
    lines = (kept / "methods.jsonl").read_text(encoding="utf-8").splitlines()
    page = write_report([json.loads(line) for line in lines], CONFIGS, Budget(), tmp_path)[0]
    assert page.read_text(encoding="utf-8") == (kept / "methods.md").read_text(encoding="utf-8")


def test_a_study_is_complete_when_nothing_is_left_to_run(tmp_path: Path) -> None:
    results: list[dict[str, Any]] = [{**VOICES, "tests": {domain: [0, 1] for domain in DOMAINS}}]
    while tasks := next_tasks([OURS], results):
        results += [made(task) for task in tasks]
    # Two seeds at the rate that was chosen, one at either rate beside it.
    rates = [(each["lr"], each["seed"]) for each in results if each["key"].startswith("final")]
    assert sorted({rate for rate in rates if rates.count(rate) == len(DOMAINS)}) == [
        (3e-4, 1), (1e-3, 1), (1e-3, 2), (3e-3, 1),
    ]  # fmt: skip
    page = write_report(results, [OURS], Budget(), tmp_path)[0].read_text(encoding="utf-8")
    assert "Not complete" not in page
    page = write_report(results[:-1], [OURS], Budget(), tmp_path)[0].read_text(encoding="utf-8")
    assert "are missing: 1 final." in page


def made(task: Task) -> dict[str, Any]:
    """What a run of this task may have found."""
    asked = {"key": task.key, "study": "s", "stage": task.stage, "domain": task.domain, "lr": task.lr,
             "seed": task.seed}  # fmt: skip
    if task.stage == "base":
        return {**base(task.domain), **asked}
    named = {**asked, "config": task.config.name, "options": {}}
    if task.stage == "lr":
        return {**named, "valid_accuracy": 1.0 if task.lr == 1e-3 else 0.5}
    if task.stage == "cost":
        return {**named, "step_s": 0.25, "step_bytes": 2**20}
    tests = {name: figures([1, 1]) for name in TESTS[task.domain]}
    return {**final(task.config, [1, 1]), **named, "tests": tests}


def test_seeds_are_compared_together_as_far_as_both_have_them() -> None:
    results = [
        VOICES,
        base(),
        final(OURS, [4, 0]),
        final(OURS, [0, 4], 2),
        final(OTHER, [1, 1]),
        final(OTHER, [1, 1], 2),
    ]
    told = Runs.of(results).difference(OURS.name, OTHER.name, CHILD)
    assert told == "+25.0% (+25.0% to +25.0%, 2 seeds)"  # utterance by utterance, both seeds: 4 errors of 8
    told = Runs.of(results[:-1]).difference(OURS.name, OTHER.name, CHILD)
    assert told == "+25.0% (-25.0% to +75.0%)"


def test_runs_of_a_rate_that_is_not_the_chosen_one_are_left_out() -> None:
    results = [
        VOICES,
        base(),
        *tried(OURS, 3e-3),
        final(OURS, [1, 1]),
        final(OURS, [2, 2], lr=3e-3),
        final(OTHER, [1, 1]),
    ]
    chosen = current([OURS], results)
    assert [(each["config"], each["lr"]) for each in chosen if each["stage"] == "final"] == [
        (OURS.name, 3e-3)
    ]
    (entry,) = entries(chosen)
    assert entry.wer == 0.5


def test_a_run_that_diverged_is_named(tmp_path: Path) -> None:
    results = [
        VOICES,
        base(),
        *tried(OURS, 1e-3),
        final(OURS, [1, 1]),
        final(OURS, [1, 1], 2, failed="not finite"),
    ]
    page = write_report(results, [OURS], Budget(), tmp_path)[0].read_text(encoding="utf-8")
    assert f"Diverged: final/{OURS.name}/{CHILD}/lr0.001/seed2." in page
    assert "| 25.0% |" in page


def test_a_loop_counts_no_more_than_all_wrong_once_capped() -> None:
    counts = Counts.of([final(OURS, [40, 1]), final(OURS, [0, 3], 2)], [0, 1])
    assert (counts.errors, counts.words, counts.capped) == ([40, 4], [8, 8], [4, 4])


def test_intervals_are_over_voices() -> None:
    runs = [final(OURS, [40, 1, 2]), final(OURS, [0, 3, 0], 2)]
    for run in runs:
        run["tests"][CHILD]["words"] = [4, 4, 4]
    counts = Counts.of(runs, [1, 0, 1])
    assert (counts.errors, counts.words, counts.capped) == ([4, 42], [8, 16], [4, 6])


def test_the_page_draws_voices(tmp_path: Path) -> None:
    """All of one voice: nothing to be drawn, so no interval."""
    alone = {**VOICES, "tests": {CHILD: [0, 0]}}
    results = [
        alone,
        base(),
        *tried(OURS, 1e-3),
        final(OURS, [2, 0]),
        *tried(OTHER, 1e-3),
        final(OTHER, [0, 4]),
    ]
    page = write_report(results, [OURS, OTHER], Budget(), tmp_path)[0].read_text(encoding="utf-8")
    assert "| 25.0% | 25.0% to 25.0% |" in page
    assert "+25.0% (+25.0% to +25.0%)" in page


def test_results_that_do_not_say_who_speaks_are_refused(tmp_path: Path) -> None:
    results = [base(), *tried(OURS, 1e-3), final(OURS, [1, 1])]
    with pytest.raises(DataError, match="who speaks what"):
        write_report(results, [OURS], Budget(), tmp_path)


def test_a_file_in_single_precision_is_told_in_half_too(tmp_path: Path) -> None:
    options = {"method": "lora"}
    other = replace(OTHER, options=options)
    rates = [{**each, "options": options} for each in tried(OTHER, LEARNING_RATES[0])]
    results = [VOICES, base(), *rates, final(OTHER, [1, 1], lr=LEARNING_RATES[0], options=options)]
    page = write_report(results, [other], Budget(), tmp_path)[0].read_text(encoding="utf-8")
    assert "| 0.0001, edge | 600,000 | 2.50 MB (1.30) |" in page


@pytest.mark.parametrize(
    ("curve", "steps"),
    [
        ([(0, 0.5), (30, 0.8), (60, 0.96), (90, 1.0)], 60),
        ([(0, 0.5), (30, 0.4)], None),
        ([(0, 0.5), (30, 0.6)], 30),
    ],
)
def test_steps_to_nine_tenths_of_the_gain(curve: list[tuple[int, float]], steps: int | None) -> None:
    assert steps_to_gain(curve) == steps


def entry(config: str, parameters: int, errors: Sequence[int], group: str = "g") -> Entry:
    (found,) = entries([VOICES, base(), final(Config(config, group, {}), errors, parameters=parameters)])
    return found


def test_bold_is_what_nothing_as_small_beats() -> None:
    found = [entry("a", 10, [2, 2]), entry("b", 20, [3, 2]), entry("c", 20, [1, 0]), entry("d", 30, [1, 0])]
    assert [each.config for each in pareto(found)] == ["a", "c"]


def test_convergence_is_compared_at_one_size() -> None:
    group = CONVERGING[1]
    sizes = {"small": 20_000, "near": MATCHED_SIZE + 3_000, "large": 240_000}
    found = [entry(name, size, [1, 1], group) for name, size in sizes.items()]
    assert [each.config for each in matched([*found, entry("x", MATCHED_SIZE, [1, 1], "vera")])] == ["near"]
