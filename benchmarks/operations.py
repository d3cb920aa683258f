"""Results of a server under load: docs/results/operations-*.json, and operations.md from them.

    python -m benchmarks.operations

`benchmarks.soak` and `benchmarks.load` write the JSON files.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.page import table
from benchmarks.report import RESULTS, device_name

PAGE = "operations.md"
SOAK, LOAD = "operations-soak.json", "operations-load.json"
SPEACHES = "speaches"
UNAVAILABLE = (
    "could not be installed from the package index of this machine, so it is not compared. "
    "`benchmarks/whisper_speed.py` compares faster-whisper without a server."
)


def main() -> None:
    """Write the page from the JSON files that are there."""
    (RESULTS / PAGE).write_text(page(RESULTS), encoding="utf-8")


def save(name: str, record: Mapping[str, object], out: Path | None, *, quick: bool) -> None:
    """Write a record to `out`, by default docs/results/. A quick run without `out` is only printed."""
    about = {"device": device_name("cpu"), "python": platform.python_version(), "torch": torch.__version__}
    text = json.dumps({**about, "quick": quick, **record}, indent=1) + "\n"
    if quick and out is None:
        print(text)
        return
    folder = RESULTS if out is None else out
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")


def page(folder: Path) -> str:
    """Return the Markdown of operations.md."""
    parts = ["# Under load", "", "Written by `python -m benchmarks.operations`.", ""]
    for name, told in ((SOAK, _soak), (LOAD, _load)):
        path = folder / name
        if path.is_file():
            parts += told(json.loads(path.read_text(encoding="utf-8")))
    return "\n".join(parts).rstrip() + "\n"


def _soak(record: Mapping[str, Any]) -> list[str]:
    return [
        "## Soak",
        "",
        f"`{record['command']}`, {record['device']}: {record['base']}, {record['minutes']:g} minutes at "
        f"{record['asked_per_s']:.1f} requests a second, {record['overload']:g} times the measured capacity.",
        "",
        "Domains are published, activated, rolled back and removed meanwhile. Clients leave, live sessions",
        "speak, and hostile files come among the others. A reply is wrong if it names a digest that answered",
        "for its domain at no moment of the request. A request is lost if it gets neither a transcript nor a",
        "refusal. `slower` is the last windows' median latency over that after the warm-up.",
        "",
        *table([record["outcome"]]),
        "",
        "Passed." if record["passed"] else "**Not passed.**",
        "",
        *(f"- answered otherwise than expected: {fault}" for fault in sorted(set(record["faults"]))),
        *(f"- held at the end: {name} {value}" for name, value in record["held_at_the_end"].items()),
        "",
        *table(record["windows"]),
        "",
    ]


def _load(record: Mapping[str, Any]) -> list[str]:
    return [
        "## Load",
        "",
        f"`{record['command']}`, {record['device']}: {record['base']}, {record['domains']} domains, "
        f"locust {record['locust']}.",
        "",
        "A user asks for the next clip when the last is answered, and waits as told where it is refused.",
        "Times are from the request to its whole answer, of those that were transcribed. A request counts in",
        "the stage in which it ends. `both at once`: short clips, and a long recording, at the same time.",
        "`none` among the refused: the connection was closed without an answer.",
        "",
        *table(record["rows"]),
        "",
        "speaches, a server around faster-whisper, "
        + ("is on the package index and not measured yet." if record[SPEACHES] else UNAVAILABLE),
        "",
    ]


def speaches_available() -> bool:
    """Return whether an installer finds speaches and all that it needs. Nothing is installed."""
    command = [str(Path(sys.executable).with_name("uv")), "pip", "install", "--dry-run", "--quiet"]
    tried = subprocess.run([*command, "--python", sys.executable, SPEACHES], capture_output=True)
    return tried.returncode == 0


def quantile(seconds: Sequence[float], share: float) -> float | None:
    """Return the least of the numbers that is not less than this share of them; None of no numbers."""
    ordered = sorted(seconds)
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 3) if ordered else None


if __name__ == "__main__":
    main()
