"""The import law, read from the source: between the five packages, and between the rooms of each.

    ssvd_asr <- adapters_store <- training
                               <- server          training and server never import each other
    ui imports only ssvd_asr's constants, httpx, gradio and jiwer; only server's app factory mounts it, lazily

tests/rooms.py holds the table of packages and rooms.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

from tests import rooms
from tests.rooms import (
    FLOORS,
    PACKAGES,
    ROOT,
    Import,
    circles,
    goes_down,
    graph,
    homeless,
    imports_of,
    sources,
)
from tests.rooms_drawing import PAGE, written

BESIDE = {"benchmarks", "examples", "recipes", "tests"}  # not installed: no package imports them
ALLOWED_ONCE = {("server/app.py", "ui.app")}  # the app factory, inside a function
UI_MAY_IMPORT = {"httpx", "gradio", "jiwer"}  # beside the standard library
NAMES_UPPER_FLOORS = "ssvd_asr/cli.py"  # and only as strings
UPPER_FLOOR = re.compile(r"(adapters_store|training|server|ui)(\.\w+)*:\w+")
SOURCES = sources()
FAMILIES = ("ssvd_asr.base.owsm", "ssvd_asr.base.whisper")  # of bases
LIBRARIES = ("espnet2", "espnet_model_zoo", "transformers")  # of the families
FILES = [path.relative_to(ROOT).as_posix() for path in SOURCES]


def is_allowed(imported: Import) -> bool:
    """Whether the law between packages allows it."""
    folder = imported.file.split("/")[0]
    top = imported.module.split(".")[0]
    if (imported.file, imported.module) in ALLOWED_ONCE:
        return imported.lazy
    if top in BESIDE:
        return False
    if top in PACKAGES:
        may_import = PACKAGES[folder]
        return any(imported.module == may or imported.module.startswith(f"{may}.") for may in may_import)
    return folder != "ui" or top in UI_MAY_IMPORT or top in sys.stdlib_module_names


def test_every_import_keeps_the_law_between_packages() -> None:
    broken = [each for path in SOURCES for each in imports_of(path) if not is_allowed(each)]
    assert broken == []


def test_every_import_between_rooms_goes_down() -> None:
    broken = [each for path in SOURCES for each in imports_of(path) if not goes_down(each)]
    assert broken == []


def test_nothing_above_the_bases_names_a_family_or_reaches_into_its_library() -> None:
    told = [
        each
        for path in SOURCES
        for each in imports_of(path)
        if not each.file.startswith("ssvd_asr/base/")
        and any(each.module == name or each.module.startswith(f"{name}.") for name in (*FAMILIES, *LIBRARIES))
    ]
    assert told == []


def test_no_two_files_import_each_other_directly_or_through_others() -> None:
    assert circles(graph()) == []


def test_every_file_stands_in_a_room_of_the_table() -> None:
    assert homeless(FILES) == []


def test_every_room_of_the_table_has_files_and_stands_in_it_once() -> None:
    for package, floors in FLOORS.items():
        units = [unit for floor in floors for unit in floor]
        found = {rooms.unit_of(file) for file in FILES if file.startswith(f"{package}/")}
        assert sorted(units) == sorted(found), package


@pytest.mark.parametrize(
    "room",
    [f"{package}/{unit}" for package in FLOORS for floor in FLOORS[package] for unit in floor if "/" in unit],
)
def test_a_rooms_init_is_a_docstring_of_at_most_five_lines(room: str) -> None:
    text = (ROOT / room / "__init__.py").read_text(encoding="utf-8")
    (docstring,) = ast.parse(text).body
    assert isinstance(docstring, ast.Expr)
    assert ast.get_docstring(ast.parse(text))
    assert len(text.splitlines()) <= 5


def test_tests_lie_in_folders_like_the_rooms() -> None:
    for package in FLOORS:
        folders = [path for path in (ROOT / "tests" / package).iterdir() if path.name != "__pycache__"]
        names = {path.name for path in folders if path.is_dir()}
        assert names <= {path.name for path in (ROOT / package).iterdir() if path.is_dir()}, package


def test_the_drawing_of_the_rooms_is_up_to_date() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == written(page), "run `python -m tests.rooms_drawing`"


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


def build(root: Path, files: dict[str, str]) -> None:
    """Write source files under `root`."""
    for name, source in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(source + "\n", encoding="utf-8")


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
        ("ui/x.py", "from ssvd_asr import audio", False),
        ("ui/x.py", "import torch", False),
        ("training/x.py", "from benchmarks.report import write", False),
        ("ssvd_asr/x.py", "def f():\n    from tests.rooms import FLOORS", False),
        ("server/x.py", "import recipes.espeak.speak", False),
        ("ui/x.py", "import gradio as gr, httpx, json", True),
    ],
)
def test_the_law_between_packages_would_notice(tmp_path: Path, file: str, source: str, kept: bool) -> None:
    names = ("ssvd_asr/audio/__init__.py", "ssvd_asr/audio/read.py", "ssvd_asr/errors.py", "ui/app.py")
    build(tmp_path, {**dict.fromkeys(names, ""), file: source})
    assert all(map(is_allowed, imports_of(tmp_path / file, tmp_path))) == kept


@pytest.mark.parametrize(
    ("file", "source", "kept"),
    [
        ("ssvd_asr/layer/linear.py", "from ssvd_asr.basis.factors import LayerFactors", True),
        ("ssvd_asr/layer/linear.py", "from ssvd_asr.layer.step import step", True),
        ("ssvd_asr/layer/linear.py", "from ssvd_asr.mixing.mixture import MixedLayer", False),
        ("ssvd_asr/layer/linear.py", "from ssvd_asr.mixing import mixture", False),
        ("ssvd_asr/layer/linear.py", "import ssvd_asr.mixing.mixture", False),
        ("ssvd_asr/layer/linear.py", "def f():\n    from ssvd_asr.mixing.mixture import MixedLayer", False),
        (
            "ssvd_asr/layer/linear.py",
            "if TYPE_CHECKING:\n    from ssvd_asr.mixing.mixture import Mixture",
            False,
        ),
        ("ssvd_asr/layer/linear.py", "from ssvd_asr import adapt", False),  # of the package's own top
        ("ssvd_asr/mixing/mixture.py", "from ssvd_asr.decoding.greedy import greedy", False),
        ("ssvd_asr/adapter/merge.py", "from ssvd_asr.transcription import transcribe", False),  # on its floor
        ("ssvd_asr/errors.py", "from ssvd_asr.device import DTYPES", False),
        ("server/bank/bank.py", "from server.errors import ApiError", True),
        ("server/bank/bank.py", "from ssvd_asr.mixing.mixture import Mixture", True),  # another package
        ("server/bank/bank.py", "from server.engine.engine import Engine", False),
        ("ui/words.py", "from ui.render import page", False),
    ],
)
def test_the_law_between_rooms_would_notice(tmp_path: Path, file: str, source: str, kept: bool) -> None:
    names = [
        *("ssvd_asr/__init__.py", "ssvd_asr/errors.py", "ssvd_asr/device.py", "ssvd_asr/transcription.py"),
        *("ssvd_asr/basis/factors.py", "ssvd_asr/layer/step.py", "ssvd_asr/mixing/mixture.py"),
        *("ssvd_asr/decoding/greedy.py", "server/errors.py", "server/engine/engine.py", "ui/render.py"),
    ]
    build(tmp_path, {**dict.fromkeys(names, ""), file: source})
    assert all(goes_down(each, tmp_path) for each in imports_of(tmp_path / file, tmp_path)) == kept


@pytest.mark.parametrize(
    "back",
    [
        "from ssvd_asr.layer.linear import AdaptedLinear",
        "from ssvd_asr.layer import linear",
        "def f():\n    import ssvd_asr.layer.linear",
        "if TYPE_CHECKING:\n    from ssvd_asr.layer.linear import AdaptedLinear",
    ],
)
def test_a_circle_is_found_wherever_the_import_stands(tmp_path: Path, back: str) -> None:
    files = {
        "ssvd_asr/layer/linear.py": "from ssvd_asr.layer.step import step",
        "ssvd_asr/layer/step.py": "from ssvd_asr.layer.cost import cost",
        "ssvd_asr/layer/cost.py": back,
        "ssvd_asr/layer/other.py": "from ssvd_asr.layer.linear import AdaptedLinear",
    }
    build(tmp_path, files)
    assert circles(graph(tmp_path)) == [[f"ssvd_asr/layer/{name}.py" for name in ("cost", "linear", "step")]]


def test_a_file_beside_the_rooms_or_in_a_new_folder_is_found() -> None:
    files = ["ssvd_asr/layer/new.py", "ssvd_asr/new.py", "server/telephone/session.py", "training/loop.py"]
    assert homeless(files) == files[1:]


def test_a_relative_import_is_refused(tmp_path: Path) -> None:
    build(tmp_path, {"server/x.py": "from . import errors"})
    with pytest.raises(AssertionError, match="relative import"):
        list(imports_of(tmp_path / "server/x.py", tmp_path))
