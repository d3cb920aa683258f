"""The one command: it names its parts without importing them, and turns refusals into exit statuses."""

from __future__ import annotations

import ast
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from ssvd_asr import cli, extras
from ssvd_asr.errors import UnknownDomainError
from ssvd_asr.version import __version__

HEAVY = {
    "torch",
    "espnet2",
    "espnet",
    "gradio",
    "fastapi",
    "lhotse",
    "numpy",
    "pydantic",
    "training",
    "server",
}


@pytest.mark.parametrize("argument", ["--help", "--version", "nonsense"])
def test_what_needs_no_command_imports_nothing_heavy(argument: str) -> None:
    probe = (
        "import json, sys\n"
        "from ssvd_asr.cli import main\n"
        f"main([{argument!r}])\n"
        "print(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in json.loads(result.stderr.splitlines()[-1])}
    assert not loaded & HEAVY


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_target_is_a_function_of_the_source(name: str) -> None:
    """Read, not imported: the check costs nothing and needs no model."""
    module, function = cli.COMMANDS[name].target.split(":")
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"  {name}" in out and command.summary in out for name, command in cli.COMMANDS.items())


def test_help_of_a_command_is_asked_for_in_two_ways(stand_in: ModuleType) -> None:
    seen: list[list[str]] = []
    stand_in.__dict__["main"] = lambda argv: (seen.append(argv), 0)[1]
    assert cli.main(["help", "act"]) == cli.main(["act", "--help"]) == 0
    assert seen == [["--help"], ["--help"]]


def test_without_a_command_the_usage_is_shown_with_status_2(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main([]) == 2
    assert "usage: ssvd" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"ssvd {__version__}\n"


def test_a_mistyped_command_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["transcibe", "a.wav"]) == 2
    assert "did you mean 'transcribe'?" in capsys.readouterr().err


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A command `act` whose module the test fills."""
    module = ModuleType("stand_in")
    monkeypatch.setitem(sys.modules, "stand_in", module)
    monkeypatch.setitem(cli.COMMANDS, "act", cli.Command("stand_in:main", "act"))
    return module


def test_a_command_gets_the_arguments_after_its_name(stand_in: ModuleType) -> None:
    seen: list[list[str]] = []
    stand_in.__dict__["main"] = lambda argv: (seen.append(argv), 7)[1]
    assert cli.main(["act", "--help", "x"]) == 7
    assert seen == [["--help", "x"]]


def test_a_refusal_is_one_line_and_status_1(stand_in: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(argv: list[str]) -> int:
        raise UnknownDomainError(f"no domain {argv[0]!r}")

    stand_in.__dict__["main"] = refuse
    assert cli.main(["act", "klingon"]) == 1
    assert capsys.readouterr().err == "ssvd act: no domain 'klingon'\n"


def test_a_fault_of_ours_keeps_its_traceback(stand_in: ModuleType) -> None:
    def fail(_: list[str]) -> int:
        raise ZeroDivisionError

    stand_in.__dict__["main"] = fail
    with pytest.raises(ZeroDivisionError):
        cli.main(["act"])


@pytest.mark.parametrize(("module", "extra"), [("uvicorn", "serve"), ("gradio", "ui"), ("lhotse", "train")])
def test_a_missing_module_of_an_extra_is_one_line_that_names_the_extra(
    stand_in: ModuleType, capsys: pytest.CaptureFixture[str], module: str, extra: str
) -> None:
    def lack(_: list[str]) -> int:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    stand_in.__dict__["main"] = lack
    assert cli.main(["act"]) == 2
    assert (
        capsys.readouterr().err
        == f'ssvd act needs the extra "{extra}": pip install -e ".[{extra}]", in the folder of the source\n'
    )


@pytest.mark.parametrize("module", ["server.nowhere", "torch", "gradio.nowhere", None])
def test_a_missing_module_of_ours_or_inside_an_installed_one_keeps_its_traceback(
    stand_in: ModuleType, module: str | None
) -> None:
    def lack(_: list[str]) -> int:
        raise ModuleNotFoundError("missing", name=module)

    stand_in.__dict__["main"] = lack
    with pytest.raises(ModuleNotFoundError):
        cli.main(["act"])


def test_the_extra_of_a_command_is_asked_for_before_its_module_is_imported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(cli.COMMANDS, "act", cli.Command("no_such_module:main", "act", "ui"))
    monkeypatch.setattr(extras, "find_spec", lambda module: None if module == "gradio" else module)
    assert cli.main(["act"]) == 2
    assert 'the extra "ui"' in capsys.readouterr().err
