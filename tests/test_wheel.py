"""The built wheel, not the checkout: what a user of `pip install` gets."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = {"ssvd_asr", "adapters_store", "training", "server", "ui"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the files git would commit, so that a forgotten file is missed here too."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def run(installed: Path, *arguments: str) -> str:
    """Run python away from the checkout, with the wheel's files first on the path."""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=installed, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_holds_the_five_packages_and_nothing_else(installed: Path) -> None:
    found = {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")}
    assert found == PACKAGES


def test_every_module_of_the_checkout_is_in_the_wheel(installed: Path) -> None:
    modules = {path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    assert {str(module) for module in modules if not (installed / module).is_file()} == set()


@pytest.mark.parametrize(
    "name", ["config.yaml", "tokens.txt", "bpe.model", "feats_stats.npz", "model.safetensors"]
)
def test_holds_the_embedded_base(installed: Path, name: str) -> None:
    assert (installed / "ssvd_asr" / "base" / "nano" / name).stat().st_size > 0


@pytest.mark.parametrize("domain", ["child", "scottish"])
def test_holds_the_builtin_domains_with_clips(installed: Path, domain: str) -> None:
    home = installed / "adapters_store" / "builtin" / domain
    assert (home / "adapter.safetensors").is_file()
    assert len(list((home / "samples").glob("*.opus"))) >= 140


def test_the_command_and_the_builtins_work_from_the_wheel(installed: Path) -> None:
    where = run(installed, "-c", "import ssvd_asr; print(ssvd_asr.__file__)")
    assert Path(where.strip()).is_relative_to(installed)
    store = str(installed / "store")
    script = "import sys; from ssvd_asr.cli import main; sys.exit(main(sys.argv[1:]))"
    listed = run(installed, "-c", script, "adapters", "list", "--json", "--store", store)
    assert '"child"' in listed
    assert '"scottish"' in listed


def test_the_console_script_is_declared(installed: Path) -> None:
    entry_points = next(installed.glob("*.dist-info")) / "entry_points.txt"
    assert "ssvd = ssvd_asr.cli:main" in entry_points.read_text(encoding="utf-8")
