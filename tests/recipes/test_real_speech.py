"""The study of real speech: what runs next follows from the results alone, and the page tells them."""

from __future__ import annotations

from pathlib import Path
from threading import Event
from typing import Any

import pytest

from recipes.real_speech import run as run_module
from recipes.real_speech.__main__ import run_all
from recipes.real_speech.configs import CONFIGS, FULL, LORA, SSVD, task_of
from recipes.real_speech.page import write_page
from recipes.real_speech.study import AGAIN, LOOPING, SEEDS, Run, Scored, Task, chosen_rate, next_tasks
from ssvd_asr.errors import SsvdError
from training.bench.results import ResultsFile

IDS = [f"fillets-nl/level{number // 2}/{number}" for number in range(8)]


def result(task: Task, wer: float) -> dict[str, Any]:
    """Figures of a task as its process returns them."""
    errors = [round(10 * wer)] * len(IDS)
    found = {
        "wer": wer, "cer": wer / 2, "insertions": 0, "deletions": 0, "ids": IDS, "errors": errors,
        "words": [10] * len(IDS), "speakers": ["x-small", "x-big"] * 4,
    }  # fmt: skip
    return found if isinstance(task, Scored) else {
        **found, "parameters": 5, "bytes": 7, "valid_loss": 1.0, "audio_s_per_s": 8.0
    }  # fmt: skip


def wer_of(task: Task) -> float:
    """The middle rates are best, and LoRA is better than SSVD."""
    if isinstance(task, Scored):
        return 0.5
    return {3e-4: 0.3, 1e-3: 0.4, 1e-4: 0.6}.get(task.rate, 0.7) - 0.1 * (task.config.name == LORA)


@pytest.fixture
def done(tmp_path: Path) -> dict[str, dict[str, Any]]:
    """The results of a whole study."""
    results = ResultsFile(tmp_path / "real.jsonl", frozenset(("key",)))
    run_all(results, 2, lambda task: result(task, wer_of(task)), lambda _: True)
    return results.by_key()


def test_a_study_ends_and_repeats_nothing(done: dict[str, dict[str, Any]]) -> None:
    assert next_tasks(CONFIGS, done) == []
    trained = [key for key in done if key.startswith("train/fillets-nl/") and "seed1" in key]
    rates = sum(len(config.rates) for config in CONFIGS)
    assert len(trained) == rates + sum(not config.rates for config in CONFIGS)


def test_every_key_leads_back_to_its_task(done: dict[str, dict[str, Any]]) -> None:
    assert all(task_of(key).key == key for key in done)


def test_the_first_tasks_try_every_method_once() -> None:
    first = [task for task in next_tasks(CONFIGS, {}) if isinstance(task, Run)][:3]
    assert [task.config.name for task in first] == [SSVD, LORA, FULL]


def test_the_rate_with_the_lowest_wer_is_chosen_and_others_take_it(done: dict[str, dict[str, Any]]) -> None:
    rates = {config.name: chosen_rate(config, CONFIGS, done) for config in CONFIGS}
    assert rates[SSVD] == rates[LORA] == 3e-4
    assert all(rates[config.name] == rates[SSVD] for config in CONFIGS if config.rate_of == SSVD)


def test_test_data_are_scored_for_chosen_rates_only(done: dict[str, dict[str, Any]]) -> None:
    scored = [task_of(key) for key in done if key.startswith("score/train")]
    for task in scored:
        assert isinstance(task, Scored)
        assert task.run is not None
        assert task.run.rate == chosen_rate(task.run.config, CONFIGS, done)
    assert {task.run.seed for task in scored if isinstance(task, Scored) and task.run} == set(SEEDS)


def test_the_page_has_every_table(done: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    page = write_page(done, tmp_path / "real.md").read_text()
    for title in ("The base alone", "Learning rates", "Dutch test data", "Czech test data",
                  f"{SSVD} less {LORA}", "What helps SSVD", "Seconds of speech",
                  "trained on one actor"):  # fmt: skip
        assert title in page, title
    assert "| SSVD p=40% | 0.0003 (chosen) | 30.0 (" in page


def test_the_page_tells_what_ending_loops_changed(done: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    key = Scored(None, "fillets-cs").key
    looping = {**done[key], "wer": 0.6}
    looping["errors"] = [looping["errors"][0] + 90, *looping["errors"][1:]]
    page = write_page({**done, key + LOOPING: looping}, tmp_path / "real.md").read_text()
    (row,) = [line for line in page.splitlines() if line.startswith("| base/fillets-cs |")]
    assert row.startswith("| base/fillets-cs | 60.0 (")
    assert row.endswith("| 1 |")


def test_a_page_of_few_results_has_no_empty_table(tmp_path: Path) -> None:
    task = next_tasks(CONFIGS, {})[0]
    page = write_page({task.key: result(task, 0.4)}, tmp_path / "real.md").read_text()
    assert "Learning rates" in page
    assert "test data\n" not in page


def test_a_task_that_fails_ends_the_study_after_the_others(tmp_path: Path) -> None:
    results = ResultsFile(tmp_path / "real.jsonl", frozenset(("key",)))

    failed = Event()

    def process(task: Task) -> dict[str, Any]:
        if isinstance(task, Run) and task.config.name == LORA:
            failed.set()
            raise SsvdError("no memory")
        assert failed.wait(10)
        return result(task, 0.5)

    with pytest.raises(SsvdError, match="no memory"):
        run_all(results, 2, process, lambda _: True)
    assert list(results.by_key()) == [Run(CONFIGS[0], "fillets-nl", 1e-3, 1).key]


def test_folders_of_runs_are_their_own() -> None:
    runs = [task for task in next_tasks(CONFIGS, {}) if isinstance(task, Run)]
    assert len({run_module.folder_of(run, Path("x")) for run in runs}) == len(runs)


def test_a_run_whose_weights_are_gone_is_trained_anew_before_its_scores(
    done: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    lost = Scored(Run(CONFIGS[0], "fillets-cs", 3e-4, 1), "fillets-cs")
    assert lost.run is not None
    results = ResultsFile(tmp_path / "again.jsonl", frozenset(("key",)))
    for key, each in done.items():
        if key != lost.key:
            results.add({**each, "key": key})
    asked: list[Task] = []
    here: set[Run] = set()

    def process(task: Task) -> dict[str, Any]:
        asked.append(task)
        here.update([task] if isinstance(task, Run) else [])
        return result(task, wer_of(task) - 0.05)

    run_all(results, 1, process, lambda run: run in here)
    dutch = Run(CONFIGS[0], "fillets-nl", 3e-4, 1)
    assert asked == [dutch, lost.run, lost]  # both languages' are served
    found = results.by_key()
    assert found[dutch.key] == done[dutch.key]
    assert found[dutch.key + AGAIN]["wer"] == 0.25
    assert (
        "| fillets-nl/SSVD p=40%/lr0.0003/seed1 | 30.0 | 25.0 |"
        in write_page(found, tmp_path / "real.md").read_text()
    )


def test_a_run_that_diverged_is_neither_scored_nor_served_nor_repeated(tmp_path: Path) -> None:
    results = ResultsFile(tmp_path / "real.jsonl", frozenset(("key",)))
    asked: list[str] = []

    def process(task: Task) -> dict[str, Any]:
        asked.append(task.key)
        if isinstance(task, Run) and task.corpus in ("fillets-cs", "fillets-nl-big"):
            return {"failed": "not finite", "wer": 1.0}
        return result(task, wer_of(task))

    run_all(results, 1, process, lambda run: "failed" not in results.by_key().get(run.key, {}))
    assert len(asked) == len(set(asked))
    assert not [
        key for key in asked if key.startswith(("score/train/fillets-cs/", "score/train/fillets-nl-big/"))
    ]
