"""Arguments, timing, printed tables and JSON files under docs/results/ for all benchmarks.

A figure is the median of several rounds. When two things are compared, each round runs both, one right after
the other, so that a machine that slows down slows both. A row is written as soon as it is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import torch

from ssvd_asr.parser import CommandParser

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results"

TURN = "SSVD_BENCHMARK_TURN"  # environment: see `wait_for_turn`

Row = Mapping[str, object]
Clock = Literal["wall", "cpu"]
CLOCKS: Mapping[Clock, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}


@dataclass(frozen=True)
class Timing:
    """Seconds of each round, in the order of measurement."""

    seconds: tuple[float, ...]

    @property
    def median_s(self) -> float:
        """The figure to report."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """(slowest - fastest) / median, the noise of the timing."""
        return (max(self.seconds) - min(self.seconds)) / self.median_s

    def times_faster_than(self, other: Timing) -> float:
        """Return the median over the rounds of other / self. Both must come from one `side_by_side`."""
        pairs = zip(other.seconds, self.seconds, strict=True)
        return statistics.median(theirs / ours for theirs, ours in pairs)


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the arguments that every benchmark takes. Its description is the first line."""
    made = CommandParser(
        description=(description or "").partition("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    made.add_argument("--quick", action="store_true", help="small shapes, under a minute, for a look")
    made.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:<index>")
    made.add_argument(
        "--clock",
        choices=list(CLOCKS),
        default="wall",
        help="cpu: seconds of the processor, for one thread on a machine that others use too",
    )
    made.add_argument(
        "--out", type=Path, help=f"folder for the JSON (default docs/{RESULTS.name}, quick: none)"
    )
    return made


def choose_shapes(arguments: argparse.Namespace, *, gpu: bool, quick: str) -> None:
    """Set default shapes if --shapes is not given: `quick` with --quick, 1b on a GPU, else nano and 0.1b."""
    if not arguments.shapes:
        arguments.shapes = [quick] if arguments.quick else ["1b"] if gpu else ["nano", "0.1b"]


def median_of(run: Callable[[], object], repeats: int, *, warm_up: int = 1, clock: Clock = "wall") -> float:
    """Return the median seconds of `repeats` calls, after `warm_up` calls that are not counted."""
    return side_by_side({"only": run}, repeats, warm_up=warm_up, clock=clock)["only"].median_s


def side_by_side(
    runs: Mapping[str, Callable[[], object]], repeats: int, *, warm_up: int = 1, clock: Clock = "wall"
) -> dict[str, Timing]:
    """Time several things in turns, in `repeats` rounds of all of them. The order reverses every round.

    A CUDA device is synchronised before and after each call.
    """
    if repeats < 1:
        raise ValueError(f"repeats={repeats}: at least one round is needed")
    wait_for_turn()
    for run in runs.values():
        for _ in range(warm_up):
            run()
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for round_ in range(repeats):
        for name in list(runs)[:: -1 if round_ % 2 else 1]:
            seconds[name].append(_seconds(runs[name], CLOCKS[clock]))
    return {name: Timing(tuple(each)) for name, each in seconds.items()}


def wait_for_turn() -> None:
    """Say that this run is built, and wait for its turn, by the files that the variable TURN names.

    `benchmarks.suite` builds all runs before it times the first.
    """
    turn = os.environ.get(TURN)
    if turn is None or Path(turn).exists():
        return
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()  # other runs are timed first
    built_file(turn).touch()
    while not Path(turn).exists():
        time.sleep(0.02)


def built_file(turn: str | Path) -> Path:
    """Return the file by which a run says that it waits for `turn`."""
    return Path(f"{turn}.built")


def _seconds(run: Callable[[], object], now: Callable[[], float]) -> float:
    _synchronise()
    start = now()
    run()
    _synchronise()
    return now() - start


def _synchronise() -> None:
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()


def write(
    name: str,
    rows: Iterable[Row],
    *,
    device: torch.device | str = "cpu",
    out: Path | None = None,
    quick: bool = False,
    **about: object,
) -> Path | None:
    """Write each row to <out>/<name>-<device>.json as it comes, print the table, and return the path.

    The record says `complete: false` until the last row is written.

    Args:
        out: default docs/results/. A quick run without `out` is only printed and returns None.
        about: further conditions, such as shapes, dtype and repeats. No paths of this machine.
    """
    device, path = torch.device(device), None
    if not quick or out is not None:
        path = (RESULTS if out is None else out) / f"{name}-{_slug(device)}.json"
    record: dict[str, object] = {
        "benchmark": name,
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "espnet": version_of("espnet"),
        "python": platform.python_version(),
        "command": command(),
        "quick": quick,
        **about,
        "complete": False,
    }
    known: list[dict[str, object]] = []
    wait_for_turn()
    for row in rows:
        known.append(dict(row))
        _store(path, {**record, "rows": known})
    print(table(known))
    if path is not None:
        _store(path, {**record, "complete": True, "rows": known})
        print(f"written: {path.name}", file=sys.stderr)
    return path


def _store(path: Path | None, record: Row) -> None:
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def table(rows: Sequence[Row]) -> str:
    """Return the rows as text under a common header, columns in the order of first appearance."""
    header = list(dict.fromkeys(key for row in rows for key in row))
    cells = [header, *([_cell(row.get(key, "")) for key in header] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(header))]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in cells
    )


def device_name(device: torch.device | str) -> str:
    """Return the device's common name: "NVIDIA H100", or the CPU's model with its number of cores."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{models[0]}, {len(models)} cores" if models else platform.machine()


def _slug(device: torch.device) -> str:
    if device.type == "cpu":
        return "cpu"
    return re.sub(r"[^a-z0-9]+", "-", device_name(device).lower()).strip("-")


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def command() -> str:
    """Return the command for a reader, without --out and with absolute paths cut to their names."""
    module = getattr(sys.modules["__main__"], "__spec__", None)
    words = ["python", "-m", module.name if module is not None else Path(sys.argv[0]).stem]
    arguments = iter(sys.argv[1:])
    for argument in arguments:
        if argument == "--out":
            next(arguments, None)
        elif not argument.startswith("--out="):
            words.append(Path(argument).name if Path(argument).is_absolute() else argument)
    return " ".join(words)


def version_of(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # carried as a bare folder
        return None
