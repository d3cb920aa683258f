"""The pages of docs/ say what the code says: fields, limits, commands, files and modules."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from ssvd_asr.adapter.metadata import AdapterMetadata, Canary, CanaryOutput, LayerEntry
from ssvd_asr.adapter.read import DEFAULT_LIMITS
from ssvd_asr.adapter.voices import VoiceSummary
from ssvd_asr.cli import COMMANDS

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "examples").glob("*.md"),
        *(ROOT / ".github").glob("*.md"),
    ]
)
FORMAT = (ROOT / "docs" / "adapter-format.md").read_text(encoding="utf-8")


def documented(page: str, heading: str) -> set[str]:
    """Names in the first column of the first table after `heading`."""
    table = re.search(rf"{re.escape(heading)}.*?\n\|.*?\n\n", page, re.DOTALL)
    assert table is not None, heading
    rows = re.findall(r"^\|([^|]*)\|", table[0], re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


def table_rows(page: str, heading: str) -> list[dict[str, str]]:
    """The rows of the first table after `heading`, cell by column."""
    table = re.search(rf"{re.escape(heading)}.*?\n(\|.*?\n)\n", page, re.DOTALL)
    assert table is not None, heading
    head, _, *rows = ([cell.strip() for cell in line[1:-1].split("|")] for line in table[1].splitlines())
    return [dict(zip(head, row, strict=True)) for row in rows]


def test_figures_told_of_the_methods_are_on_the_page_of_results() -> None:
    told = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    results = ROOT / "docs" / "results"
    kept = "".join((results / page).read_text(encoding="utf-8") for page in ("methods.md", "real.md"))
    rates = re.findall(r"(?<![\d.])\d+\.\d(?![\d.])", told)
    counts = re.findall(r"(?<![\d,])\d{1,3}(?:,\d{3})+(?![\d,])", told)
    assert len(rates) > 20
    # About 120,000 numbers: a round figure.
    stale = {figure for figure in (*rates, *counts) if figure not in kept} - {"120,000"}
    assert not stale


def test_figures_told_of_real_speech_are_on_its_page() -> None:
    kept = (ROOT / "docs" / "results" / "real.md").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    methods = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    for page, begin, end in (
        (readme, "- **Little is of real speech.**", "- **An adapter is"),
        (methods, "## Real speech", "\n## How far"),
    ):
        told = re.findall(r"\d+\.\d", page.partition(begin)[2].partition(end)[0])
        assert len(told) >= 4
        assert [figure for figure in told if figure not in kept] == []


def test_each_row_told_of_the_methods_is_that_of_the_results() -> None:
    told = table_rows((ROOT / "docs" / "methods.md").read_text(encoding="utf-8"), "## Which method when")
    kept = (ROOT / "docs" / "results" / "methods.md").read_text(encoding="utf-8")
    sizes = {row["config"].strip("*"): row for row in table_rows(kept, "## child: ")}
    found = {
        (row["domain"], row["config"]): row for row in table_rows(kept, "## By the server's default search")
    }
    adapted = [row for row in told if row["row"] != "`base`"]
    assert len(adapted) > 5
    for row in adapted:
        of = row["row"].strip("`")
        child, scottish = found["child", of], found["scottish", of]
        assert row == {
            **row,
            "numbers trained": sizes[of]["parameters"],
            "file": sizes[of]["file"],
            "child": child["WER, scaled"],
            "scottish": scottish["WER, scaled"],
            "adult speech": f"{child['adult, scaled']}, {scottish['adult, scaled']}",
            "scale": f"{child['scale']}; {scottish['scale']}",
            "step": sizes[of]["step"],
        }
    (base,) = (row for row in told if row not in adapted)
    assert f"Without an adapter: scottish {base['scottish']}, child {base['child']}." in kept
    assert f"without an adapter, adult speech {base['adult speech']}\n" in kept


@pytest.mark.parametrize(
    ("heading", "model"),
    [
        ("## Metadata", AdapterMetadata),
        ("### A layer's entry", LayerEntry),
        ("### The canary\n", Canary),
        ("### The summary of voices", VoiceSummary),
    ],
)
def test_the_adapter_format_lists_exactly_the_fields_of_the_code(
    heading: str, model: type[BaseModel]
) -> None:
    assert documented(FORMAT, heading) == set(model.model_fields)


def test_an_output_of_the_canary_is_described() -> None:
    row = re.search(r"^\| `outputs` .*$", FORMAT, re.MULTILINE)
    assert row is not None
    assert all(f"`{name}`" in row[0] for name in CanaryOutput.model_fields)


@pytest.mark.parametrize("limit", ["max_header_bytes", "max_file_bytes"])
def test_the_limits_of_reading_are_those_of_the_code(limit: str) -> None:
    assert f"| `{limit}` | {getattr(DEFAULT_LIMITS, limit) // 2**20} MiB |" in FORMAT


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_a_page_names_is_there(page: Path) -> None:
    named = re.findall(
        r"`((?:ssvd_asr|adapters_store|training|server|ui|recipes|benchmarks|examples|tests|docs)/[\w./]*)`",
        page.read_text(encoding="utf-8"),
    )
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(((?!http)[^)#]+)\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_a_page_shows_exists(page: Path) -> None:
    shown = re.findall(r"(?:^ {4}|`|/)ssvd ([a-z]+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(shown) <= set(COMMANDS)


def test_the_rooms_modules_are_named_with_their_folders() -> None:
    page = (ROOT / "docs" / "structure.md").read_text(encoding="utf-8")
    assert re.findall(r"(?<![\w/])`(\w+\.py)`", page.split("`training/bench/` is")[0]) == []


def test_every_test_that_the_lessons_name_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "lessons.md").read_text(encoding="utf-8")))
    files = (ROOT / "tests").rglob("test_*.py")
    tests = {
        name for file in files for name in re.findall(r"def (test_\w+)", file.read_text(encoding="utf-8"))
    }
    assert len(named) > 40
    assert named <= tests
