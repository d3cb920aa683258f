"""Runner of all GPU benchmarks, one after the other in separate processes, within a time limit.

A GPU may be available for minutes only. All runs are built side by side; then each is timed while the others
wait. Each writes its JSON, row by row, and its log (<run>.txt) to --out. The runs that were not done are
listed at the end, for --only of the next call. Benchmarks that need trained weights or speech (agreement,
compressed, `ssvd bench methods`) are not included.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.report import TURN, built_file
from ssvd_asr.parser import CommandParser

# The most informative benchmark comes first. All use the 1B shape, the scripts' default on a GPU.
RUNS: Mapping[str, Sequence[str]] = {
    "train_step": ["--shapes", "1b", "--sides", "lora", "ssvd", "--repeats", "5"],
    "swap": ["--repeats", "40"],
    "variety-rows256": ["--rows", "256", "--domains", "64", "--repeats", "2"],
    "memory": ["--swaps", "300"],
    "step_forms": [],
    "kernels": ["--rows", "64", "--domains", "0", "4", "64", "--repeats", "3"],
    "variety": ["--repeats", "2"],
    "decode-half": ["--dtype", "bfloat16", "--batches", "32", "--repeats", "2", "--budget-s", "3"],
    "factorize": ["--shapes", "1b"],
    "growth": ["--repeats", "3"],
    "variety-rank102": ["--domains", "64", "--rank", "102", "--repeats", "2"],
    "decode": ["--batches", "32", "--repeats", "2", "--budget-s", "3"],
    # PEFT takes half a minute for one batch of 16 domains.
    "peft_lora": ["--domains", "16", "--ways", "adapter_names", "--repeats", "1"],
    "peft_lora-hotswap": ["--domains", "16", "--ways", "hotswap", "--repeats", "1"],
}
BUILDING_S = 120.0  # a run that takes longer to build is timed while it builds


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmarks. Return 1 if one failed or had no time, else 0."""
    arguments = _parser().parse_args(argv)
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    until = began + 60 * arguments.minutes
    with TemporaryDirectory() as folder:
        runs = [Run(name, Path(folder, name), arguments) for name in arguments.only]
        while time.monotonic() < min(began + BUILDING_S, until) and any(run.building for run in runs):
            time.sleep(0.1)
        print(f"built in {time.monotonic() - began:.0f} s", flush=True)
        undone = [run.name for run in runs if not run.finish(until - time.monotonic())]
    print(f"not done: --only {' '.join(undone)}" if undone else "all done", flush=True)
    return 1 if undone else 0


def _parser() -> argparse.ArgumentParser:
    made = CommandParser(
        description=(__doc__ or "").partition("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    made.add_argument("--device", default="cuda", help="cuda, cuda:<index> or cpu")
    made.add_argument("--out", type=Path, required=True, help="folder of the results")
    made.add_argument("--minutes", type=float, default=9.0, help="no run goes on after so many")
    made.add_argument("--only", nargs="+", choices=RUNS, default=list(RUNS), metavar="RUN", help="of these")
    made.add_argument("--quick", action="store_true", help="each by its --quick: whether they would run")
    return made


@dataclass
class Run:
    """One benchmark in its own process, which starts at once to build its model."""

    name: str
    turn: Path  # the process times nothing before this file exists
    arguments: argparse.Namespace
    process: subprocess.Popen[bytes] = field(init=False)

    @property
    def building(self) -> bool:
        """Whether the process runs and does not wait for its turn yet."""
        return self.process.poll() is None and not built_file(self.turn).exists()

    def __post_init__(self) -> None:
        out, options = self.arguments.out, ["--quick"] if self.arguments.quick else RUNS[self.name]
        words = [sys.executable, "-m", f"benchmarks.{self.name.partition('-')[0]}"]
        words += ["--device", self.arguments.device, "--out", str(out), *options]
        threads = str(max(1, (os.cpu_count() or 2) // 2))
        environment = {"OMP_NUM_THREADS": threads, **os.environ, TURN: str(self.turn)}
        with (out / f"{self.name}.txt").open("wb") as log:
            self.process = subprocess.Popen(words, stdout=log, stderr=log, env=environment)

    def finish(self, left_s: float) -> bool:
        """Let the run be timed, and kill it if it takes longer than `left_s`. Return whether it succeeded."""
        began = time.monotonic()
        self.turn.touch()
        try:
            said = f"exit {self.process.wait(max(0.0, left_s))}"
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            said = "out of time"
        print(f"{self.name}: {said}, {time.monotonic() - began:.0f} s, {self.name}.txt", flush=True)
        return said == "exit 0"


if __name__ == "__main__":
    sys.exit(main())
