"""The import law of the five folders, read from the source: one table, one assertion.

ssvd_asr <- adapters_store <- training
                           <- server          training and server never import each other
ui imports only ssvd_asr's constants, httpx and gradio; only server's app factory mounts it, lazily
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]

# folder: what of this project its modules may import ("ui.app" of server is the exception below)
LAW: dict[str, set[str]] = {
    "ssvd_asr": {"ssvd_asr"},
    "adapters_store": {"adapters_store", "ssvd_asr"},
    "training": {"training", "adapters_store", "ssvd_asr"},
    "server": {"server", "adapters_store", "ssvd_asr"},
    "ui": {"ui", "ssvd_asr.errors", "ssvd_asr.version"},
}
ALLOWED_ONCE = {("server/app.py", "ui.app")}  # the app factory, inside a function
UI_MAY_IMPORT = {"httpx", "gradio"}  # beside the standard library
NAMES_UPPER_FLOORS = "ssvd_asr/cli.py"  # and only as strings
UPPER_FLOOR = re.compile(r"(adapters_store|training|server|ui)(\.\w+)*:\w+")


class Import(NamedTuple):
    """One imported module, where it is imported, and whether when the importing module is."""

    file: str
    line: int
    module: str
    lazy: bool


def imports_of(path: Path) -> Iterator[Import]:
    """Every import statement of a file, those inside functions and under TYPE_CHECKING too."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    inside = {id(inner) for function in functions for inner in ast.walk(function)}
    file = path.relative_to(ROOT).as_posix()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: a relative import; the law reads absolute ones"
            # "from ssvd_asr import errors" names a module, "from ssvd_asr.errors import X" does not.
            names = [_module(f"{node.module}.{alias.name}", node.module or "") for alias in node.names]
        else:
            continue
        for name in names:
            yield Import(file, node.lineno, name, id(node) in inside)


def _module(longer: str, shorter: str) -> str:
    path = ROOT / longer.replace(".", "/")
    return longer if path.is_dir() or path.with_suffix(".py").is_file() else shorter


def is_allowed(imported: Import) -> bool:
    """Whether the law allows it."""
    folder = imported.file.split("/")[0]
    top = imported.module.split(".")[0]
    if (imported.file, imported.module) in ALLOWED_ONCE:
        return imported.lazy
    if top in LAW:
        return any(imported.module == may or imported.module.startswith(f"{may}.") for may in LAW[folder])
    return folder != "ui" or top in UI_MAY_IMPORT or top in sys.stdlib_module_names


SOURCES = sorted(path for folder in LAW for path in (ROOT / folder).rglob("*.py"))


def test_every_import_keeps_the_law() -> None:
    broken = [each for path in SOURCES for each in imports_of(path) if not is_allowed(each)]
    assert broken == []


def test_the_ground_floor_names_upper_floors_only_as_strings_of_the_command_table() -> None:
    naming = {
        path.relative_to(ROOT).as_posix()
        for path in SOURCES
        if path.is_relative_to(ROOT / "ssvd_asr")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and UPPER_FLOOR.fullmatch(node.value)
    }
    assert naming == {NAMES_UPPER_FLOORS}


@pytest.mark.parametrize(
    ("file", "source", "kept"),
    [
        ("ssvd_asr/x.py", "import server.engine.engine", False),
        ("ssvd_asr/x.py", "def f():\n    from training.loop import trainer", False),
        ("training/x.py", "from server.app import create_app", False),
        ("server/x.py", "from training.loop.trainer import Trainer", False),
        ("server/x.py", "def f():\n    from ui.app import mount", False),
        ("server/app.py", "from ui.app import mount", False),
        ("server/app.py", "def f():\n    from ui.app import mount", True),
        ("adapters_store/x.py", "from ssvd_asr.errors import StoreError", True),
        ("ui/x.py", "from ssvd_asr import errors", True),
        ("ui/x.py", "from ssvd_asr.audio.read import read_audio", False),
        ("ui/x.py", "from ssvd_asr.audio import read as audio", False),
        ("ui/x.py", "import torch", False),
        ("ui/x.py", "import gradio as gr, httpx, json", True),
    ],
)
def test_the_law_would_notice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, source: str, kept: bool
) -> None:
    monkeypatch.setattr("tests.test_import_law.ROOT", tmp_path)
    for module in ("ssvd_asr/audio/read.py", "ssvd_asr/errors.py", "ui/app.py", file):
        (tmp_path / module).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / module).touch()
    (tmp_path / file).write_text(source + "\n")
    assert all(map(is_allowed, imports_of(tmp_path / file))) == kept
