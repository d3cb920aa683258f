"""Wheels for a machine without a network: what the benchmarks and their tests need and it lacks.

    ssh gpu-machine python3 -m pip freeze > there.txt
    python -m benchmarks.wheels --there there.txt --without onnxruntime-gpu --out wheels

and on that machine

    python3 -m pip install --no-index --no-deps --target site wheels/*.whl && export PYTHONPATH=site

What is needed is read off the packages installed here, so it does not age. Packages that are there stay as
they are, in whatever version: try the tests there before anything long.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ssvd_asr.output_paths import check_output_folder
from ssvd_asr.parser import CommandParser

PROJECT = "ssvd-asr"
EXTRAS = ("serve", "whisper", "train", "benchmark")
TESTS = ("pytest", "pytest-timeout", "pytest-xdist", "hypothesis", "httpx2")
# Asked for by espnet or by the extras, and not imported by what runs there.
UNUSED = frozenset(("gradio", "locust", "matplotlib", "espnet-model-zoo", "hydra-core"))


def main(argv: Sequence[str] | None = None) -> int:
    """Fetch the wheels. Return pip's status."""
    arguments = _parse(argv)
    there = names_in(arguments.there.read_text(encoding="utf-8"))
    left_out = there | {str(canonicalize_name(name)) for name in arguments.without} | UNUSED
    roots = [Requirement(f"{PROJECT}[{','.join(arguments.extras)}]"), *map(Requirement, TESTS)]
    names = sorted(needed(roots, left_out) - {PROJECT})
    check_output_folder(arguments.out, "--out")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps"]  # builds those that exist as source only
    command += ["--constraint", str(arguments.constraints), "--wheel-dir", str(arguments.out), *names]
    print(" ".join(names), flush=True)
    return subprocess.run(command, check=False).returncode


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    made = CommandParser(
        prog="python -m benchmarks.wheels",
        description=(__doc__ or "").partition("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    made.add_argument("--there", type=Path, required=True, help="that machine's `pip freeze`, or names alone")
    made.add_argument("--out", type=Path, required=True, help="folder of the wheels")
    made.add_argument("--extras", nargs="+", default=list(EXTRAS), help="of this package")
    made.add_argument("--without", nargs="*", default=[], help="packages that something there stands in for")
    made.add_argument("--constraints", type=Path, default=Path("constraints.txt"), help="versions")
    return made.parse_args(argv)


def names_in(listing: str) -> set[str]:
    """Return the packages' normalised names, one a line, whatever stands behind a name."""
    found = (re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", line.strip()) for line in listing.splitlines())
    return {str(canonicalize_name(match.group())) for match in found if match}


def needed(roots: Iterable[Requirement], left_out: set[str]) -> set[str]:
    """Return the normalised names of what requirements ask for on this kind of machine, in all depths.

    Args:
        left_out: neither these are named nor what they ask for.

    Raises:
        PackageNotFoundError: one that is needed is not installed here.
    """
    found: set[str] = set()
    looked: set[tuple[str, str]] = set()
    waiting = list(roots)
    while waiting:
        requirement = waiting.pop()
        name = str(canonicalize_name(requirement.name))
        if name in left_out:
            continue
        found.add(name)
        for extra in ("", *requirement.extras):
            if (name, extra) not in looked:
                looked.add((name, extra))
                waiting += _asked_by(name, extra)
    return found


def _asked_by(name: str, extra: str) -> Iterator[Requirement]:
    try:
        lines = requires(name) or []
    except PackageNotFoundError as error:
        raise PackageNotFoundError(f"{name} (install this project's extra dev)") from error
    for line in lines:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            yield requirement


if __name__ == "__main__":
    sys.exit(main())
