"""What happens when standard output cannot take what a command prints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ssvd_asr.console import READER_GONE, json_line
from tests.rooms import ROOT

MANY_LINES = """
import sys
from types import ModuleType
from ssvd_asr import cli
module = ModuleType("stand_in")
def main(argv):
    for number in range(100_000):
        print(number)
    return 0
module.main = main
sys.modules["stand_in"] = module
cli.COMMANDS["act"] = cli.Command("stand_in:main", "act")
sys.exit(cli.main(["act"]))
"""
ONE_LINE = MANY_LINES.replace("100_000", "1")
OWN_PIPE = MANY_LINES.replace("print(number)", "raise BrokenPipeError('a pipe of its own')")


def run(source: str, stdout: int, **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", source]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **more}
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, env=environment)


def unread() -> int:
    """The writing end of a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    return writer


@pytest.mark.parametrize("source", [MANY_LINES, ONE_LINE])
def test_a_command_ends_quietly_when_its_reader_has_gone(source: str) -> None:
    done = run(source, unread())
    assert (done.returncode, done.stderr) == (READER_GONE, "")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["adapters", "list"], ["adapters", "-h"]])
def test_so_do_the_real_ones(arguments: list[str], tmp_path: Path) -> None:
    source = f"import sys; from ssvd_asr.cli import main; sys.exit(main({arguments}))"
    done = run(source, unread(), SSVD_STORE=str(tmp_path))
    assert (done.returncode, done.stderr) == (READER_GONE, "")


def test_a_broken_pipe_of_the_commands_own_is_no_reader_that_left() -> None:
    done = run(OWN_PIPE, subprocess.PIPE)
    assert done.returncode == 1
    assert "a pipe of its own" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("source", [MANY_LINES, ONE_LINE])
def test_a_full_disk_is_one_line_and_status_1(source: str) -> None:
    with open("/dev/full", "w") as full:
        done = run(source, full.fileno())
    assert done.returncode == 1
    assert done.stderr == "ssvd act: [Errno 28] No space left on device\n"


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_any_file_name_and_text_can_be_printed(encoding: str) -> None:
    source = ONE_LINE.replace("print(number)", r"print('name \udcff', 'текст')")
    done = run(source, subprocess.PIPE, PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, "")
    assert r"name \udcff" in done.stdout


def test_json_with_such_a_name_is_utf_8_and_reads_back() -> None:
    name = os.fsdecode(b"caf\xe9.wav")
    line = json_line(json.dumps({"file": name, "text": "été"}, ensure_ascii=False))
    assert json.loads(line.encode("utf-8")) == {"file": name, "text": "été"}
    assert "été" in line


@pytest.mark.parametrize("stream", [1, 2])
def test_a_stream_that_the_caller_has_closed_leads_nowhere(stream: int) -> None:
    source = ONE_LINE.replace(
        "print(number)", "print(number); sys.stderr.write('told'); sys.stdout.write('x')"
    )
    command = ["sh", "-c", f'"$0" -c "$1" {stream}>&-', sys.executable, source]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0
    assert (done.stdout, done.stderr) == (("", "told") if stream == 1 else ("0\nx", ""))
