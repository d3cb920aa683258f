"""Virtual environments with what an install of the wheel would bring, linked from the tests' own in a second.

The distributions follow from the wheel's metadata and from theirs, as pip finds them. Nothing else can be
imported there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

NAME = "ssvd-asr"


class Install:
    """A wheel with some of its extras in a virtual environment."""

    def __init__(self, wheel: Path, unpacked: Path, folder: Path, extras: tuple[str, ...] = ()) -> None:
        self.folder = folder
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        site = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder)}))
        (ours,) = (Distribution.at(path) for path in unpacked.glob("*.dist-info"))
        for other in needed(ours, extras).values():
            link(other, site)
        command = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--offline", "--no-deps"]
        subprocess.run([*command, "--python", str(folder / "bin" / "python"), str(wheel)], check=True)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a program of the environment away from the checkout."""
        own = {"SSVD_CACHE_DIR": str(self.folder / "cache"), "SSVD_STORE": str(self.folder / "store")}
        environment = {**os.environ, **own}
        environment.pop("PYTHONPATH", None)
        program, *rest = arguments
        return subprocess.Popen(
            [str(self.folder / "bin" / program), *rest],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Exit status, standard output and standard error of a program of the environment."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=300)
        return process.returncode, out, err


def needed(ours: Distribution, extras: tuple[str, ...]) -> dict[str, Distribution]:
    """What an install of `ours` with these extras brings, by name; `ours` itself is left out."""
    found: dict[str, Distribution] = {}
    asked: set[tuple[str, str]] = set()
    waiting = [(NAME, extra) for extra in ("", *extras)]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in asked:
            continue
        asked.add((name, extra))
        if name != NAME:
            found[name] = distribution(name)
        for requirement in map(Requirement, (ours if name == NAME else found[name]).requires or ()):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                inner = canonicalize_name(requirement.name)
                waiting += [(inner, each) for each in ("", *requirement.extras)]
    return found


def link(other: Distribution, site: Path) -> None:
    """Link the modules, folders and metadata of a distribution into another site-packages."""
    for top in {path.parts[0] for path in other.files or ()} - {"..", "__pycache__"}:
        if not (site / top).exists():  # folders as nvidia/ are shared by several
            (site / top).symlink_to(Path(str(other.locate_file(top))))
