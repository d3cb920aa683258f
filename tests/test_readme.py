"""The README's promises, run as they are written."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from adapters_store.packaged import PACKAGED
from recipes.espeak.goldens import Listener
from ui.words import aligned

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
    assert (ROOT / arguments.test).is_file()


LINKS = re.findall(r"\]\(([a-zA-Z][\w./-]+)\)", README)
FOLDERS = re.findall(r"^    (\w+/)  ", README, re.MULTILINE)


@pytest.mark.parametrize("path", sorted({*LINKS, *FOLDERS}))
def test_every_file_it_names_is_there(path: str) -> None:
    assert path.startswith("http") or (ROOT / path).exists()


def test_the_clip_of_its_curl_is_there() -> None:
    clip = re.search(r"CLIP=(\S+)", README)
    assert clip is not None
    assert (ROOT / clip[1]).is_file()


def test_its_list_of_files_has_every_folder() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    tracked = {line.split("/")[0] + "/" for line in listed.splitlines() if "/" in line}
    assert {name for name in tracked if not name.startswith(".")} == set(FOLDERS)


def test_its_clip_is_heard_better_by_the_domain_than_by_the_base() -> None:
    found = re.search(r"CLIP=adapters_store/builtin/(\S+)", README)
    assert found is not None
    clip = Path(found[1])
    lines = (PACKAGED / clip.parent / "test.jsonl").read_text(encoding="utf-8").splitlines()
    (said,) = [entry["text"] for entry in map(json.loads, lines) if entry["audio"] == clip.name]
    listener = Listener()
    wrong = {
        domain: sum(not step.right for step in aligned(said, listener.hear([str(clip)], domain)[0].text))
        for domain in (None, "child")
    }
    assert wrong["child"] < wrong[None]


@pytest.mark.parametrize("target", re.findall(r"^    make (\w+)", README, re.M))
def test_its_make_targets_exist(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
