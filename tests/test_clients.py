"""Every block of docs/clients.md does what the page says, against a server as a user starts it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pysubs2
import pytest

from adapters_store.packaged import PACKAGED
from recipes.serving import running_server

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL)
CLIP = PACKAGED / "child" / "samples" / "child-test-000000.opus"
ADDRESS = "http://127.0.0.1:8000"
PROGRAMS = ("curl", "ffmpeg", "node")
LIMIT_S = 300

pytestmark = pytest.mark.skipif(
    any(shutil.which(each) is None for each in PROGRAMS),
    reason="needs curl, ffmpeg and node: apt-get install curl ffmpeg nodejs",
)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Address of a server that this module starts."""
    with running_server() as address:
        yield address


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the files that the blocks name."""
    shutil.copy(CLIP, tmp_path / "clip.opus")
    return tmp_path


def block(kind: str, having: str, address: str) -> str:
    """The one block of a language that holds a text, for this server."""
    (found,) = (code for language, code in BLOCKS if language == kind and having in code)
    return str(found.replace(ADDRESS, address).replace("python live.py", f"{sys.executable} live.py"))


def run(folder: Path, *command: str, code: str | None = None, data: bytes = b"") -> str:
    """What a program prints; `code` is written into the file that the command ends with."""
    if code is not None:
        (folder / command[-1]).write_text(code, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=folder, env=environment, input=data, capture_output=True, timeout=LIMIT_S
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def film(folder: Path) -> None:
    """A film whose sound is the clip."""
    made = ["-f", "lavfi", "-i", "color=size=64x64:rate=5:duration=3", "-i", "clip.opus"]
    run(folder, "ffmpeg", "-v", "error", *made, "-c:a", "aac", "-shortest", "film.mp4")


def test_every_block_is_run_below() -> None:
    assert [language for language, _ in BLOCKS] == ["bash", "python", "javascript", "bash", "python"]


def test_curl(folder: Path, address: str) -> None:
    said = run(folder, "bash", "-e", "block.sh", code=block("bash", "domain=auto", address))
    text = re.search(r'"text":"([^"]+)"', said)
    assert text is not None
    assert len(text[1].split()) > 3
    events = [json.loads(line[6:]) for line in said.splitlines() if line.startswith("data: ")]
    assert events[-1]["text"] == text[1]
    assert said.count(text[1]) >= 3


def test_python(folder: Path, address: str) -> None:
    lines = run(
        folder, sys.executable, "block.py", code=block("python", "verbose_json", address)
    ).splitlines()
    *words, made_by, streamed = lines
    assert made_by == "made by child version 1"
    assert [line.split()[-1] for line in words] == streamed.split()
    times = [float(time) for line in words for time in line.split()[:2]]
    assert times == sorted(times)


def test_javascript(folder: Path, address: str) -> None:
    text, made_by = run(
        folder, "node", "block.mjs", code=block("javascript", "FormData", address)
    ).splitlines()
    assert len(text.split()) > 3
    assert made_by == "made by child"


def test_subtitles_for_a_film(folder: Path, address: str) -> None:
    film(folder)
    run(folder, "bash", "-e", "block.sh", code=block("bash", "film.mp4", address))
    kinds = run(
        folder, "ffprobe", "-v", "error", "-show_entries", "stream=codec_type", "-of", "csv=p=0",
        "subtitled.mp4",
    )  # fmt: skip
    assert kinds.split() == ["video", "audio", "subtitle"]
    assert len(pysubs2.load(str(folder / "film.srt"))) >= 1


def test_a_live_microphone(folder: Path, address: str) -> None:
    """A clip as the microphone, and silence after it."""
    raw = ["-ac", "1", "-ar", "24000", "-f", "s16le", "-"]
    command = ["ffmpeg", "-v", "error", "-i", "clip.opus", "-af", "apad=pad_dur=2", *raw]
    once = subprocess.run(command, cwd=folder, capture_output=True, check=True).stdout
    said = run(
        folder, sys.executable, "live.py", code=block("python", "asyncio", address), data=once
    ).splitlines()
    assert len(said) == 1
    assert len(said[0].split()) > 3
