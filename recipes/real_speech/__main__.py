"""Command of the study: what is missing is run, two tasks at a time, then the page is written."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from recipes.real_speech.configs import CONFIGS
from recipes.real_speech.page import write_page
from recipes.real_speech.run import add_places, folder_of, trained
from recipes.real_speech.served import served
from recipes.real_speech.study import (
    AGAIN,
    LANGUAGES,
    SEEDS,
    Results,
    Run,
    Scored,
    Task,
    chosen_rate,
    corpus,
    finished,
    next_tasks,
)
from ssvd_asr.errors import SsvdError
from ssvd_asr.output_paths import check_output_file, check_output_folder
from ssvd_asr.parser import CommandParser
from training.arguments import count
from training.bench.results import ResultsFile
from training.methods.finish import ADAPTER_FILE

RESULTS = Path("docs/results/real.jsonl")


def main() -> int:
    """Run what is missing and write the page."""
    parser = CommandParser(
        prog="python -m recipes.real_speech",
        description="Whisper-base on Dutch and Czech actors, by several methods. Takes hours; resumable.",
    )
    add_places(parser)
    parser.add_argument("--out", type=Path, default=RESULTS, help="results; the page goes beside it")
    parser.add_argument("--jobs", type=count, default=2, help="tasks at a time, a thread each (default 2)")
    parser.add_argument("--page-only", action="store_true", help="write the page, run nothing")
    asked = parser.parse_args()
    check_output_file(asked.out, "--out", makes_folder=True)
    results = ResultsFile(asked.out, frozenset(("key",)))
    if not asked.page_only:
        check_output_folder(asked.work, "--work")
        places = [f"--{name}={getattr(asked, name)}" for name in ("base", "data", "work", "device")]
        with results.writing():
            run_all(
                results, asked.jobs, lambda task: _process(task, places), lambda run: trained(run, asked.work)
            )
            _serve(results, asked)
    print(write_page(results.by_key(), asked.out.with_suffix(".md")))
    return 0


def run_all(
    results: ResultsFile,
    jobs: int,
    process: Callable[[Task], dict[str, Any]],
    is_trained: Callable[[Run], bool],
) -> None:
    """Run tasks until none is left. Raises SsvdError if one fails, once the others are kept."""
    running: dict[Future[dict[str, Any]], Task] = {}
    failed: list[BaseException] = []
    with ThreadPoolExecutor(jobs) as pool:
        while True:
            begun = {task.key for task in running.values()}
            tasks = [] if failed else _tasks(results.by_key(), is_trained)
            waiting = [task for task in tasks if task.key not in begun]
            for task in waiting[: jobs - len(running)]:
                print(f"begins: {task.key}", file=sys.stderr, flush=True)
                running[pool.submit(process, task)] = task
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                task = running.pop(future)
                if error := future.exception():
                    failed.append(error)
                    continue
                key = task.key if task.key not in results.by_key() else task.key + AGAIN
                results.add({"key": key, **future.result()})
                print(f"done:   {task.key}", file=sys.stderr, flush=True)
    if failed:
        raise failed[0]


def _tasks(done: Results, is_trained: Callable[[Run], bool]) -> list[Task]:
    """Return what can run now.

    Results travel with the repository and weights do not: a run whose weights are gone is trained anew before
    it is scored or served.
    """
    tasks = next_tasks(CONFIGS, done)
    ready = [
        task.run if isinstance(task, Scored) and task.run and not is_trained(task.run) else task
        for task in tasks
    ]
    gone = [run for run in _to_serve(done) if not is_trained(run)]
    return list(dict.fromkeys([*gone, *ready]))


def _to_serve(done: Results) -> list[Run]:
    """Return the runs of the first config that one server is tried with, once they have finished.

    None where the server has been tried.
    """
    rate = chosen_rate(CONFIGS[0], CONFIGS, done)
    if rate is None or any(key.startswith("served/") for key in done):
        return []
    runs = [Run(CONFIGS[0], corpus(language), rate, SEEDS[0]) for language in LANGUAGES]
    return runs if all(finished(run, done) for run in runs) else []


def _serve(results: ResultsFile, asked: argparse.Namespace) -> None:
    """Try the adapters of the first config in one server, unless that is done."""
    files = {run.corpus: folder_of(run, asked.work) / ADAPTER_FILE for run in _to_serve(results.by_key())}
    for result in served(asked.base, asked.data, files) if files else ():
        results.add(result)


def _process(task: Task, places: list[str]) -> dict[str, Any]:
    """Run a task in a process of its own, with one thread. Raises SsvdError with the end of its output."""
    command = [sys.executable, "-m", "recipes.real_speech.run", task.key, *places]
    # Large pages: activations are asked for anew in each step, and clearing small pages takes a third of it.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode != 0:
        raise SsvdError(f"{task.key} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


if __name__ == "__main__":
    sys.exit(main())
