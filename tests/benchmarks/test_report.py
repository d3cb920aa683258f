"""What a benchmark writes down: medians of interleaved rounds, and nothing about the machine but its name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import page, report


def test_rounds_are_interleaved_and_change_places() -> None:
    calls: list[str] = []
    timings = report.side_by_side(
        {"ours": lambda: calls.append("ours"), "theirs": lambda: calls.append("theirs")}, 3, warm_up=0
    )
    assert calls == ["ours", "theirs", "theirs", "ours", "ours", "theirs"]
    assert {name: len(timing.seconds) for name, timing in timings.items()} == {"ours": 3, "theirs": 3}
    with pytest.raises(ValueError, match="repeats=0"):
        report.side_by_side({"ours": lambda: None}, 0)


def test_a_ratio_is_the_median_over_rounds_not_of_medians() -> None:
    ours, theirs = report.Timing((1.0, 10.0, 1.0)), report.Timing((2.0, 20.0, 30.0))
    assert ours.times_faster_than(theirs) == 2.0
    assert (theirs.median_s, ours.spread) == (20.0, 9.0)


def test_the_file_names_the_device_and_the_command_and_no_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["x.py", "--quick", "--out", str(tmp_path), "--device=cpu"])
    path = report.write("toy", [{"rows": 1, "s": 0.123456}, {"rows": 2, "note": "-"}], out=tmp_path, p=0.4)
    assert path == tmp_path / "toy-cpu.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["rows"] == [{"rows": 1, "s": 0.123456}, {"rows": 2, "note": "-"}]
    assert record["command"].endswith("--quick --device=cpu")
    assert record["p"] == 0.4
    assert record["threads"] >= 1
    assert record["device"]
    assert str(tmp_path) not in path.read_text(encoding="utf-8")
    shown = capsys.readouterr().out.splitlines()
    assert [line.split() for line in shown] == [["rows", "s", "note"], ["1", "0.1235"], ["2", "-"]]


def test_a_quick_look_leaves_the_results_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert report.write("toy", [{"rows": 1}], quick=True) is None
    assert "rows" in capsys.readouterr().out
    assert not (report.RESULTS / "toy-cpu.json").exists()


def test_the_page_has_every_full_record_and_no_quick_one() -> None:
    about = {"device": "toy cpu", "threads": 2, "command": "python -m benchmarks.toy", "espnet": None}
    record = {"benchmark": "toy", "quick": False, **about, "rows": [{"s": 0.123456}, {"s": 2, "note": "-"}]}
    text = page.page([record])
    assert "## toy\n\n`python -m benchmarks.toy`: device toy cpu, threads 2\n" in text
    assert "| s | note |\n|---|---|\n| 0.1235 |  |\n| 2 | - |\n" in text
    committed = page.read(report.RESULTS)
    assert committed
    assert not any(record["quick"] for record in committed)


def test_the_page_of_results_is_made_from_the_files_beside_it() -> None:
    made = page.page(page.read(report.RESULTS))
    assert (report.RESULTS / page.PAGE).read_text(encoding="utf-8") == made, "run python -m benchmarks.page"
    searches = page.search_page(page.read(report.RESULTS))
    assert (report.RESULTS / page.SEARCH_PAGE).read_text(encoding="utf-8") == searches
