"""`ssvd bench methods`: every method on the embedded benchmark, run by run, resumable.

Results are one JSON line a run; what stands there is not run again. A run that was cut off goes on from its
own checkpoint.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from ssvd_asr.errors import DataError, SsvdError
from training.bench.configs import CONFIGS
from training.bench.run import RESULT_FILE, Spec, write_spec
from training.bench.study import DOMAINS, TEST_CORPORA, Budget, Config, Task, next_tasks, study_id

DEFAULT_OUT = Path("docs/results/methods.jsonl")


def main(argv: Sequence[str]) -> int:
    """Run what is missing, then write the tables and figures; the exit status."""
    arguments = _parser().parse_args(argv)
    configs = [c for c in CONFIGS if any(fnmatch.fnmatch(c.name, pattern) for pattern in arguments.only)]
    if not configs:
        raise SsvdError(f"--only {' '.join(arguments.only)}: none of {', '.join(c.name for c in CONFIGS)}")
    study = Study(arguments.out, arguments.work, arguments.data, Budget(), arguments.device)
    if not arguments.report_only:
        study.run(configs, arguments.jobs, arguments.stop_after)
    from training.bench.report import write_report

    for path in write_report(study.results(), CONFIGS, Budget(), arguments.out.parent):
        print(path)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ssvd bench methods",
        description="Train every method on owsm-nano's domains, and compare. Hours on two cores; resumable.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("benchmark", choices=["methods"], help="which benchmark")
    parser.add_argument("--data", type=Path, default=Path("data/espeak"), help="corpora of recipes.espeak")
    parser.add_argument("--work", type=Path, default=Path("exp/methods"), help="folders of the runs")
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="results; tables go beside it")
    parser.add_argument(
        "--only", nargs="+", default=["*"], metavar="CONFIG", help="names, or patterns of them"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs at a time, a thread each")
    parser.add_argument("--stop-after", type=int, metavar="N", help="begin at most so many runs")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--report-only", action="store_true", help="write tables and figures, run nothing")
    return parser


@dataclass(frozen=True)
class Study:
    """A file of results, and what makes more of them."""

    out: Path
    work: Path
    data: Path
    budget: Budget
    device: str

    def results(self) -> list[dict[str, Any]]:
        """Of all studies in the file. Raises DataError for a line that is no JSON object."""
        if not self.out.exists():
            return []
        found = []
        for number, line in enumerate(self.out.read_text(encoding="utf-8").splitlines(), 1):
            try:
                found.append(dict(json.loads(line)))
            except ValueError as error:
                raise DataError(f"{self.out}:{number}: not a result: {error}") from error
        return found

    def run(self, configs: Sequence[Config], jobs: int, limit: int | None = None) -> None:
        """Run what is missing, `jobs` at a time. Raises SsvdError where a run's process fails."""
        from ssvd_asr.base.load import load_base

        manifests, digests = self._subsets()
        study = study_id(self.budget, load_base(device="cpu").digest, digests)
        begun: set[str] = set()
        running: dict[Future[dict[str, Any]], Task] = {}
        with ThreadPoolExecutor(jobs) as pool:
            while True:
                done = [result for result in self.results() if result["study"] == study]
                for task in next_tasks(configs, done, (*CONFIGS, *configs)):
                    if len(running) >= jobs or (limit is not None and len(begun) >= limit):
                        break
                    if any("cost" in (task.stage, other.stage) for other in running.values()):
                        break  # measured alone
                    if task.key not in begun:
                        begun.add(task.key)
                        print(f"begins: {task.key}", file=sys.stderr, flush=True)
                        running[pool.submit(self._process, study, task, manifests)] = task
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    self._note({"study": study, **future.result()})
                    print(f"done:   {running.pop(future).key}", file=sys.stderr, flush=True)

    def _note(self, result: Mapping[str, Any]) -> None:
        self.out.parent.mkdir(parents=True, exist_ok=True)
        with self.out.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(result) + "\n")

    def _process(self, study: str, task: Task, manifests: Mapping[str, Path]) -> dict[str, Any]:
        """The run in a process of its own. Raises SsvdError with the end of what it said."""
        folder = self.work / "runs" / study / task.key.replace("/", "-")  # no other study's checkpoint
        folder.mkdir(parents=True, exist_ok=True)
        write_spec(folder / "spec.json", Spec(task, self.budget, manifests, folder, self.device))
        environment = {**os.environ, "OMP_NUM_THREADS": "1"} if self.device == "cpu" else None
        command = [sys.executable, "-m", "training.bench.run", str(folder / "spec.json")]
        with (folder / "output.txt").open("w", encoding="utf-8") as output:
            status = subprocess.run(command, stdout=output, stderr=output, env=environment, check=False)
        if status.returncode != 0:
            said = (folder / "output.txt").read_text(encoding="utf-8")[-2000:]
            raise SsvdError(f"run {task.key} ended with {status.returncode}:\n{said}")
        return dict(json.loads((folder / RESULT_FILE).read_text(encoding="utf-8")))

    def _subsets(self) -> tuple[dict[str, Path], dict[str, str]]:
        """The first utterances of each corpus as manifests of their own, and their digests, by name."""
        sizes = {"train": self.budget.train_utterances, "valid": self.budget.valid_utterances}
        wanted = {f"{domain}-{split}": size for domain in DOMAINS for split, size in sizes.items()}
        wanted |= dict.fromkeys(TEST_CORPORA.values(), self.budget.test_utterances)
        manifests, digests = {}, {}
        folder = self.work / "manifests"
        folder.mkdir(parents=True, exist_ok=True)
        for name, count in wanted.items():
            source = self.data / name / "manifest.jsonl"
            if not source.exists():
                raise DataError(
                    f"no corpus at {source}: `python -m recipes.espeak.rebuild --only corpora` speaks them"
                )
            lines = source.read_text(encoding="utf-8").splitlines()[:count]
            if len(lines) < count:
                raise DataError(f"{source} has {len(lines)} utterances, the benchmark takes {count}")
            entries = [json.loads(line) for line in lines]
            digests[name] = sha256("\n".join(lines).encode()).hexdigest()
            for entry in entries:
                entry["audio"] = str((source.parent / entry["audio"]).resolve())
            manifests[name] = folder / f"{name}.jsonl"
            manifests[name].write_text("".join(json.dumps(e) + "\n" for e in entries), encoding="utf-8")
        return manifests, digests
