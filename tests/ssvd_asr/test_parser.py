"""No command takes an abbreviation for an option; the nearest option is told."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from ssvd_asr.parser import CommandParser
from tests.rooms import ROOT

FOLDERS = ("ssvd_asr", "adapters_store", "training", "server", "ui", "recipes", "benchmarks", "examples")


def parsers_of_argparse(path: Path) -> Iterator[ast.Call]:
    """Every call of argparse.ArgumentParser in a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("ArgumentParser"):
            yield node


def test_no_parser_takes_abbreviations() -> None:
    paths = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    taking = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for path in paths
        for call in parsers_of_argparse(path)
        if "allow_abbrev=False" not in map(ast.unparse, call.keywords)
    ]
    assert taking == []


def parser() -> CommandParser:
    made = CommandParser(prog="act")
    made.add_argument("--epochs", type=int)
    inner = made.add_subparsers().add_parser("publish")
    inner.add_argument("--checkpoint")
    return made


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [
        (["--epoch", "publish"], "--epochs"),
        (["--epoch=3"], "--epochs"),
        (["publish", "--check", "x"], "--checkpoint"),
    ],
)
def test_an_abbreviation_is_refused_with_the_nearest_option(
    arguments: list[str], nearest: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parser().parse_args(arguments)
    assert ended.value.code == 2
    assert f"(the nearest option is {nearest})" in capsys.readouterr().err


def test_an_empty_path_is_not_the_current_folder(capsys: pytest.CaptureFixture[str]) -> None:
    made = CommandParser(prog="act")
    made.add_argument("--out", type=Path)
    assert made.parse_args(["--out", "x"]).out == Path("x")
    with pytest.raises(SystemExit):
        made.parse_args(["--out", ""])
    assert "--out: an empty path" in capsys.readouterr().err


def test_help_that_cannot_be_written_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def write(self, _: str) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("sys.stdout", Full())
    with pytest.raises(OSError, match="No space"):
        parser().parse_args(["--help"])
