"""The README's promises, run as they are written."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_python_lines_transcribe_a_clip() -> None:
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert code is not None
    done = subprocess.run([sys.executable, "-c", code[1]], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"[a-z' ]+\n", done.stdout)


def test_the_training_command_is_one_that_the_parser_takes() -> None:
    from training.train_command import _parser

    command = re.search(r"ssvd train (.*?)\n\n", README.replace("\\\n", " "), re.DOTALL)
    assert command is not None
    arguments = _parser().parse_args(shlex.split(command[1]))
    assert (ROOT / arguments.data).is_file()
    assert (ROOT / arguments.valid).is_file()


LINKS = re.findall(r"\]\(([a-zA-Z][\w./-]+)\)", README)
FOLDERS = re.findall(r"^    (\w+/)  ", README, re.MULTILINE)


@pytest.mark.parametrize("path", sorted({*LINKS, *FOLDERS}))
def test_every_file_it_names_is_there(path: str) -> None:
    assert path.startswith("http") or (ROOT / path).exists()


def test_the_clip_of_its_curl_is_there() -> None:
    clip = re.search(r"CLIP=(\S+)", README)
    assert clip is not None
    assert (ROOT / clip[1]).is_file()


@pytest.mark.parametrize("target", re.findall(r"^    make (\w+)", README, re.M))
def test_its_make_targets_exist(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
