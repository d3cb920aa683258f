"""`ssvd bench methods`: run every method on the embedded benchmark, with resume.

Each run adds one JSON line to the results and is not repeated. An interrupted run continues from its own
checkpoint.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from ssvd_asr.errors import DataError, SsvdError
from ssvd_asr.output_paths import check_output_file, check_output_folder
from ssvd_asr.parser import CommandParser
from ssvd_asr.version import __version__
from training.arguments import count
from training.bench.configs import CONFIGS
from training.bench.facts import facts
from training.bench.results import ResultsFile
from training.bench.run import RESULT_FILE
from training.bench.spec import Spec, read_spec, write_spec
from training.bench.study import DOMAINS, TEST_CORPORA, Budget, Config, Task, next_tasks, study_id

NAMED = frozenset(("study", "key", "stage"))  # fields of every result


def main(argv: Sequence[str]) -> int:
    """Run what is missing, write the tables and figures, and return the exit status."""
    arguments = _parser().parse_args(argv)
    configs = [c for c in CONFIGS if any(fnmatch.fnmatch(c.name, pattern) for pattern in arguments.only)]
    if not configs:
        raise SsvdError(f"--only {' '.join(arguments.only)}: none of {', '.join(c.name for c in CONFIGS)}")
    check_output_file(arguments.out, "--out", makes_folder=True)
    check_output_folder(arguments.work, "--work")
    study = Study(arguments.out, arguments.work, arguments.data, Budget(), arguments.device)
    if not arguments.report_only:
        from ssvd_asr.device import resolve_device

        device = str(resolve_device(arguments.device))
        study = replace(study, device=device)
        jobs = arguments.jobs or (os.cpu_count() or 1 if device == "cpu" else 1)
        study.run(configs, jobs, arguments.stop_after)
    elif not arguments.out.exists():
        raise DataError(f"--report-only: there are no results at {arguments.out} (--out)")
    from training.bench.report import write_report

    for path in write_report(study.results(), CONFIGS, Budget(), arguments.out.parent):
        print(path)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="ssvd bench methods",
        description="Train every method on owsm-nano's domains, and compare. Hours on two cores; resumable.",
    )
    parser.add_argument("benchmark", choices=["methods"], help="which benchmark")
    parser.add_argument(
        "--data",
        type=Path,
        default=Path("data/espeak"),
        help="corpora of recipes.espeak (default %(default)s)",
    )
    parser.add_argument(
        "--work", type=Path, default=Path("exp/methods"), help="folders of the runs (default %(default)s)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("docs/results/methods.jsonl"),
        help="results; tables go beside it (default %(default)s)",
    )
    parser.add_argument(
        "--only", nargs="+", default=["*"], metavar="CONFIG", help="names, or patterns of them (default all)"
    )
    parser.add_argument(
        "--jobs",
        type=count,
        metavar="N",
        help="runs at a time (default: one a core, a thread each; on CUDA 1)",
    )
    parser.add_argument("--stop-after", type=count, metavar="N", help="begin at most so many (default all)")
    parser.add_argument("--device", default="cpu", help="cpu, auto, cuda or cuda:1 (default %(default)s)")
    parser.add_argument("--report-only", action="store_true", help="write tables and figures, run nothing")
    return parser


@cache
def made_with(device: str) -> dict[str, str]:
    """Return what figures may depend on besides the study's settings."""
    import torch

    from training.recipe import NANO

    # The study's runs join no utterances (bench/run.py). Without the field, recorded runs keep their digest.
    recipe = NANO.model_dump_json(exclude={"joined_share"})
    asked = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    commit = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    return {
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
        "torch": torch.__version__,
        "ssvd-asr": __version__,
        "commit": commit or "not a checkout",
        "recipe": sha256(recipe.encode()).hexdigest()[:16],
    }


@dataclass(frozen=True)
class Study:
    """A file of results and the settings of further runs."""

    out: Path
    work: Path
    data: Path
    budget: Budget
    device: str

    @property
    def _file(self) -> ResultsFile:
        return ResultsFile(self.out, NAMED)

    def results(self) -> list[dict[str, Any]]:
        """Return the results of all studies in the file. Raises DataError for a line that is no result."""
        return self._file.read()

    def run(self, configs: Sequence[Config], jobs: int, limit: int | None = None) -> None:
        """Run what is missing, `jobs` at a time, and begin at most `limit` runs.

        Raises SsvdError if another process is adding to the same results, or if a run's process fails. The
        results of the other processes are saved first.
        """
        with self._file.writing():
            self._run(configs, jobs, limit)

    def _run(self, configs: Sequence[Config], jobs: int, limit: int | None) -> None:
        from ssvd_asr.base.load import load_base

        manifests, digests = self._subsets()
        base = load_base(device="cpu")
        study = study_id(self.budget, base.digest, digests, self.device)
        done = [result for result in self.results() if result["study"] == study]
        for line in facts(done, configs, manifests, base):
            self._file.add({"study": study, **line})
        self._check_recipe(study)
        begun: set[str] = set()
        running: dict[Future[dict[str, Any]], Task] = {}
        with ThreadPoolExecutor(jobs) as pool:
            while True:
                done = [result for result in self.results() if result["study"] == study]
                for task in next_tasks(configs, done, (*CONFIGS, *configs)):
                    if len(running) >= jobs or (limit is not None and len(begun) >= limit):
                        break
                    if any("cost" in (task.stage, other.stage) for other in running.values()):
                        break  # costs are measured alone
                    if task.key not in begun:
                        begun.add(task.key)
                        print(f"begins: {task.key}", file=sys.stderr, flush=True)
                        running[pool.submit(self._process, study, task, manifests)] = task
                if not running:
                    return
                self._settle(study, running)

    def _check_recipe(self, study: str) -> None:
        """Raise SsvdError if the study has runs of another recipe; these cannot be compared."""
        own = made_with(self.device)["recipe"]
        made = [result.get("made_with", {}) for result in self.results() if result["study"] == study]
        if other := {each["recipe"] for each in made if "recipe" in each} - {own}:
            raise SsvdError(
                f"{self.out} has runs of recipe {', '.join(sorted(other))}, and training.recipe.NANO is "
                f"another today ({own}): give --out a file of its own"
            )

    def _settle(self, study: str, running: dict[Future[dict[str, Any]], Task]) -> None:
        """Save the next results; after a failure wait for all running tasks, save theirs, and raise."""
        failed: Exception | None = None
        while running:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                task = running.pop(future)
                try:
                    result = future.result()
                except (SsvdError, OSError, ValueError) as error:
                    failed = failed or error
                    print(f"failed: {task.key}", file=sys.stderr, flush=True)
                    continue
                self._file.add({"study": study, **result, "made_with": made_with(self.device)})
                print(f"done:   {task.key}", file=sys.stderr, flush=True)
            if failed is None:
                return
        if failed is not None:
            raise failed

    def _process(self, study: str, task: Task, manifests: Mapping[str, Path]) -> dict[str, Any]:
        """Run a task in its own process. Raises SsvdError with the end of its output."""
        folder = self.work / "runs" / study / task.key.replace("/", "-")  # not another study's
        spec = folder / "spec.json"
        if spec.exists() and read_spec(spec).task.config.options != dict(task.config.options):
            shutil.rmtree(folder)  # the config of this name has changed: nothing to resume
        folder.mkdir(parents=True, exist_ok=True)
        write_spec(spec, Spec(task, self.budget, manifests, folder, self.device))
        environment = {**os.environ, "OMP_NUM_THREADS": "1"} if self.device == "cpu" else None
        command = [sys.executable, "-m", "training.bench.run", str(spec)]
        with (folder / "output.txt").open("w", encoding="utf-8") as output:
            status = subprocess.run(command, stdout=output, stderr=output, env=environment, check=False)
        if status.returncode != 0:
            said = (folder / "output.txt").read_text(encoding="utf-8")[-2000:]
            raise SsvdError(f"run {task.key} ended with {status.returncode}:\n{said}")
        return dict(json.loads((folder / RESULT_FILE).read_text(encoding="utf-8")))

    def _subsets(self) -> tuple[dict[str, Path], dict[str, str]]:
        """Write manifests of the first utterances of each corpus; return them and their digests by name."""
        sizes = {"train": self.budget.train_utterances, "valid": self.budget.valid_utterances}
        wanted = {f"{domain}-{split}": size for domain in DOMAINS for split, size in sizes.items()}
        wanted |= dict.fromkeys(TEST_CORPORA.values(), self.budget.test_utterances)
        manifests, digests = {}, {}
        folder = self.work / "manifests"
        folder.mkdir(parents=True, exist_ok=True)
        for name, size in wanted.items():
            source = self.data / name / "manifest.jsonl"
            if not source.exists():
                raise DataError(
                    f"no corpus at {source}: `python -m recipes.espeak.rebuild --only corpora` speaks them"
                )
            lines = source.read_text(encoding="utf-8").splitlines()[:size]
            if len(lines) < size:
                raise DataError(f"{source} has {len(lines)} utterances, the benchmark takes {size}")
            entries = [json.loads(line) for line in lines]
            digests[name] = sha256("\n".join(lines).encode()).hexdigest()
            for entry in entries:
                entry["audio"] = str((source.parent / entry["audio"]).resolve())
            manifests[name] = folder / f"{name}.jsonl"
            manifests[name].write_text("".join(json.dumps(e) + "\n" for e in entries), encoding="utf-8")
        return manifests, digests
