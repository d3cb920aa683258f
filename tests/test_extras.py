"""Every module we import is declared: in the base install, or in the extra of the file that imports it."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import files, packages_distributions

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ssvd_asr.cli import COMMANDS
from ssvd_asr.extras import MODULES
from tests.installs import NAME
from tests.rooms import PACKAGES, ROOT, Import, file_of, imports_of, sources

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DISTRIBUTIONS = packages_distributions()

# Files, and folders with all that is in them, which may import the modules of an extra.
BELONGS = {
    "server/api/": "serve",
    "server/keys/quotas.py": "serve",
    "server/realtime/": "serve",
    "server/app.py": "serve",
    "server/serve_command.py": "serve",
    "server/draining.py": "serve",
    "server/logs.py": "serve",
    "server/state.py": "serve",
    "server/traces.py": "otel",
    "ui/": "ui",
    "adapters_store/s3.py": "s3",
    "ssvd_asr/base/whisper/": "whisper",
    "ssvd_asr/manifests/cuts.py": "train",
    "ssvd_asr/manifests/packed.py": "train",
    "training/loop/log.py": "train",
    "training/loop/processes.py": "processes",
    "training/methods/peft.py": "benchmark",
    "training/bench/figures.py": "benchmark",
    "training/compare_plot.py": "benchmark",
    "benchmarks/load_users.py": "benchmark",
}
# Imports that happen only where what they need is installed.
PAGE = ("server/app.py", "ui.app")  # the extra `ui`
KERNEL = ("ssvd_asr/mixing/grouped_linear.py", "ssvd_asr.mixing.grouped_kernel")  # Triton
BROUGHT_BY_TORCH = (  # for CUDA
    "ssvd_asr/mixing/grouped_kernel.py",
    "triton",
)
HIDDEN = {
    "tensorboard": "training/loop/log.py",  # imports torch.utils.tensorboard
    "python-multipart": "server/api/form_reading.py",  # starlette reads forms with it
    "websockets": "server/serve_command.py",  # uvicorn speaks WebSockets with it
    "locust": "benchmarks/load_users.py",  # runs it
    "silero-vad": "ssvd_asr/audio/speech.py",  # reads its file, whose place find_spec tells
}


def declared(extra: str | None = None) -> set[str]:
    """The distributions that the base install, or an extra by itself, asks for on this machine."""
    listed = PROJECT["dependencies"] if extra is None else PROJECT["optional-dependencies"][extra]
    requirements = [Requirement(line) for line in listed]
    here = [each for each in requirements if each.marker is None or each.marker.evaluate()]
    return {str(canonicalize_name(each.name)) for each in here} - {NAME}


def within(extra: str) -> set[str]:
    """An extra and those that it includes."""
    lines = map(Requirement, PROJECT["optional-dependencies"][extra])
    inner = [each for line in lines if line.name == NAME for each in line.extras]
    return {extra}.union(*map(within, inner))


def distributions_of(module: str) -> set[str]:
    """The distributions that bring a module."""
    found = set(map(canonicalize_name, DISTRIBUTIONS.get(module.partition(".")[0], [])))
    if len(found) == 1:
        return set(found)
    # Several share the top of a namespace, as opentelemetry's: that one which has the module's file.
    return {name for name in found if files_of(name) & places_of(module)} or set(found)


@cache
def files_of(distribution: str) -> frozenset[str]:
    return frozenset(path.as_posix() for path in files(distribution) or ())


def places_of(module: str) -> set[str]:
    """Where a module may lie, or the module of a name that is imported from it."""
    path = module.replace(".", "/")
    return {f"{path}/__init__.py", f"{path}.py"}


def is_third_party(module: str) -> bool:
    top = module.partition(".")[0]
    return top not in PACKAGES and top not in sys.stdlib_module_names


def extra_of_file(file: str) -> str | None:
    return next((extra for place, extra in BELONGS.items() if file.startswith(place)), None)


THIRD_PARTY = [
    each
    for path in sources()
    for each in imports_of(path)
    if is_third_party(each.module) and (each.file, each.module.partition(".")[0]) != BROUGHT_BY_TORCH
]


def test_every_import_is_declared_in_the_base_or_in_the_extra_of_its_file() -> None:
    undeclared = []
    for each in THIRD_PARTY:
        extra = extra_of_file(each.file)
        allowed = declared() | (declared(extra) if extra else set())
        if not distributions_of(each.module) & allowed:
            undeclared.append(each)
    assert undeclared == []


@pytest.mark.parametrize("extra", [None, *MODULES])
def test_everything_declared_is_imported(extra: str | None) -> None:
    files: dict[str, set[str]] = {}
    for each in THIRD_PARTY:
        for name in distributions_of(each.module):
            files.setdefault(name, set()).add(each.file)
    for name, file in HIDDEN.items():
        files.setdefault(name, set()).add(file)
    unused = {
        name
        for name in declared(extra)
        if not any(extra is None or extra_of_file(file) == extra for file in files.get(name, ()))
    }
    assert unused == set()


def test_no_extra_repeats_the_base_or_another_extra() -> None:
    parts = [declared(), *map(declared, MODULES)]
    assert sum(map(len, parts)) == len(set[str]().union(*parts))


def test_the_extras_of_the_code_are_those_of_the_project() -> None:
    assert set(MODULES) == set(PROJECT["optional-dependencies"]) - {"dev"}
    for extra, modules in MODULES.items():
        assert {name for module in modules for name in distributions_of(module)} == declared(extra)
    assert {command.extra for command in COMMANDS.values()} - {None} <= set(MODULES)


def test_dev_has_every_extra() -> None:
    assert within("dev") == {"dev", *MODULES}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_imports_nothing_at_the_top_of_a_file_beyond_its_extra(name: str) -> None:
    """What a function imports may be of another extra: the command does without it until then."""
    extra = COMMANDS[name].extra
    allowed = declared().union(*map(declared, within(extra) if extra else ()))
    beyond = {
        (file, each.module)
        for file in reached(COMMANDS[name].target.partition(":")[0])
        for each in at_run_time(file)
        if not each.lazy and is_third_party(each.module) and not distributions_of(each.module) & allowed
    }
    assert beyond == set()


def reached(module: str) -> set[str]:
    """The files of ours that a module imports, directly or through others, inside functions too."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        parts = waiting.pop().split(".")
        for file in filter(None, (file_of(".".join(parts[:end])) for end in range(1, len(parts) + 1))):
            if file not in found:
                found.add(file)
                waiting += [
                    each.module for each in at_run_time(file) if (file, each.module) not in (PAGE, KERNEL)
                ]
    return found


@cache
def at_run_time(file: str) -> tuple[Import, ...]:
    """The imports of a file without those for type checkers only."""
    path = ROOT / file
    lines = set(for_types(ast.parse(path.read_text(encoding="utf-8"))))
    return tuple(each for each in imports_of(path) if each.line not in lines)


def for_types(tree: ast.Module) -> Iterator[int]:
    """The lines under `if TYPE_CHECKING`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            for inner in node.body:
                yield from range(inner.lineno, (inner.end_lineno or inner.lineno) + 1)


def test_the_page_is_reached_by_one_import_only() -> None:
    found = [each for path in sources() for each in imports_of(path) if (each.file, each.module) == PAGE]
    assert len(found) == 1
    assert found[0].lazy
