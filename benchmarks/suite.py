"""All benchmarks of a GPU one after the other, each in a process of its own, for as long as there is time.

A GPU may be lent for minutes: what was not done is named at the end, for `--only` of the next time. Each run
leaves its JSON and what it said (<run>.txt) in --out. What needs trained weights or speech (agreement,
compressed, `ssvd bench methods`) is not among them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

# What answers most comes first; each writes files of its own. On the 1B shape, as the scripts do on a GPU.
RUNS: Mapping[str, Sequence[str]] = {
    "decode": ["--repeats", "3", "--budget-s", "5"],
    "kernels": [],
    "variety": ["--repeats", "3"],
    "variety-rows256": ["--rows", "256", "--domains", "64", "--repeats", "3"],
    "swap": [],
    "peft_lora": ["--domains", "16"],
    "train_step": [],
    "memory": [],
    "variety-rank102": ["--domains", "64", "--rank", "102", "--repeats", "3"],
    "growth": [],
    "factorize": ["--shapes", "1b"],
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run them; 1 where one failed or found no time."""
    arguments = _parser().parse_args(argv)
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + 60 * arguments.minutes
    undone = [name for name in arguments.only if not _run(name, arguments, until)]
    print(f"not done: --only {' '.join(undone)}" if undone else "all done", flush=True)
    return 1 if undone else 0


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    made.add_argument("--device", default="cuda", help="cuda, cuda:<index> or cpu")
    made.add_argument("--out", type=Path, required=True, help="folder of the results")
    made.add_argument("--minutes", type=float, default=9.0, help="no run goes on after so many")
    made.add_argument("--only", nargs="+", choices=RUNS, default=list(RUNS), metavar="RUN", help="of these")
    made.add_argument("--quick", action="store_true", help="each by its --quick: whether they would run")
    return made


def _run(name: str, arguments: argparse.Namespace, until: float) -> bool:
    """Whether it ended well; it is killed where the time ends."""
    left_s, log = until - time.monotonic(), arguments.out / f"{name}.txt"
    if left_s <= 0:
        return False
    words = [sys.executable, "-m", f"benchmarks.{name.partition('-')[0]}", "--device", arguments.device]
    words += ["--out", str(arguments.out), *(["--quick"] if arguments.quick else RUNS[name])]
    began = time.monotonic()
    with log.open("w", encoding="utf-8") as stream:
        try:
            done = subprocess.run(words, stdout=stream, stderr=stream, timeout=left_s, check=False)
            said = f"exit {done.returncode}"
        except subprocess.TimeoutExpired:
            said = "out of time"
    print(f"{name}: {said}, {time.monotonic() - began:.0f} s, {log.name}", flush=True)
    return said == "exit 0"


if __name__ == "__main__":
    sys.exit(main())
