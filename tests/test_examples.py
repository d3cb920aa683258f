"""Every example runs as its page says, and the notebook's kept outputs are those of its cells."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from adapters_store.packaged import PACKAGED
from tests.notebook import NOTEBOOK, ROOT, Cell, code_cells, printed, read

EXAMPLES = ROOT / "examples"
CHILD = PACKAGED / "child" / "samples"
TRAINED = re.compile(r"WER ([\d.]+)% before, ([\d.]+)% after, 40 test clips")
KEPT = code_cells(read(NOTEBOOK))


def run(folder: Path, *arguments: object) -> str:
    """What python prints for these arguments, in the folder, with a store of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SSVD_STORE": str(folder / "store")}
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def kinds(cells: list[Cell]) -> list[list[str]]:
    """The kinds of each cell's outputs; what is printed in several pieces counts once."""
    return [list(dict.fromkeys(each["output_type"] for each in cell["outputs"])) for cell in cells]


def hears_better(cells: list[Cell]) -> bool:
    """Whether the trained domain has a lower error rate than the base, and answered a request."""
    found = TRAINED.search("".join(map(printed, cells)))
    assert found is not None
    return float(found[2]) < float(found[1]) - 5 and "answered by my-child version 1" in printed(cells[-1])


def test_the_notebook_trains_looks_at_and_serves_a_domain(tmp_path: Path) -> None:
    run(tmp_path, "-m", "tests.notebook", NOTEBOOK, tmp_path / "executed.ipynb")
    executed = code_cells(read(tmp_path / "executed.ipynb"))
    assert kinds(executed) == kinds(KEPT)
    assert hears_better(executed)


def test_the_kept_outputs_show_a_domain_that_hears_better() -> None:
    assert hears_better(KEPT)
    assert any("display_data" in each for each in kinds(KEPT))


def test_every_code_cell_was_executed_in_order_without_an_error() -> None:
    assert [cell["execution_count"] for cell in KEPT] == list(range(1, len(KEPT) + 1))
    assert all(cell["outputs"] for cell in KEPT)
    assert all("error" not in each for each in kinds(KEPT))
    assert all(each.get("name") != "stderr" for cell in KEPT for each in cell["outputs"])


def test_the_notebook_prints_nothing_of_the_machine_it_ran_on() -> None:
    assert (
        re.findall(r"/(?:home|root|tmp|usr|work|Users)/", json.dumps([cell["outputs"] for cell in KEPT]))
        == []
    )


def test_a_folder_is_transcribed_in_the_domain_asked_for(tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    for number in (1, 2):
        shutil.copy(CHILD / f"child-test-00000{number}.opus", clips)
    out = run(tmp_path, EXAMPLES / "transcribe_folder.py", clips, "--domain", "child")
    texts = {path.stem: path.read_text(encoding="utf-8") for path in clips.glob("*.txt")}
    assert out == "".join(f"{stem}.opus: {texts[stem]}" for stem in sorted(texts))
    assert texts["child-test-000002"] == "afterwards china kilometre forest victoria\n"


def test_a_domain_is_compared_with_the_base(tmp_path: Path) -> None:
    options: list[Any] = [CHILD / "test.jsonl", "base", "child", "--first", 8]
    out = run(tmp_path, EXAMPLES / "compare_domains.py", *options)
    rates = dict(re.findall(r"^(\w+): WER ([\d.]+)% of 84 words, 8 utterances$", out, re.MULTILINE))
    assert float(rates["child"]) < float(rates["base"])


def test_a_model_that_is_not_owsm_is_adapted(tmp_path: Path) -> None:
    clips = [CHILD / "child-train-000002.opus", CHILD / "child-test-000002.opus"]
    out = run(tmp_path, EXAMPLES / "adapt_any_model.py", *clips)
    assert "same output as the base: True" in out
    before, after = map(float, re.findall(r": (\d\.\d+)$", out, re.MULTILINE))
    assert after < before


def test_the_page_names_every_example() -> None:
    page = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    there = {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".ipynb")} - {"__init__.py"}
    assert set(re.findall(r"^\| \[([\w.]+)\]\(\1\)", page, re.MULTILINE)) == there
