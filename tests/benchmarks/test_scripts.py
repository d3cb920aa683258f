"""Each benchmark's quick run writes a record whose figures can be believed, on a CPU and packaged clips."""

from __future__ import annotations

import importlib
import json
import math
import subprocess
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from adapters_store.packaged import PACKAGED
from benchmarks import (
    agreement,
    compressed,
    factorize,
    growth,
    kernels,
    memory,
    peft_lora,
    step_forms,
    suite,
    swap,
    variety,
)
from benchmarks.report import TURN, built_file, side_by_side, write
from benchmarks.subject import subject

CPU = ["--quick", "--device", "cpu"]


def read(folder: Path, name: str) -> dict[str, Any]:
    """The one record that a run wrote; every figure is finite."""
    (path,) = folder.glob("*.json")
    assert path.name == f"{name}-cpu.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    figures = [figure for row in record["rows"] for figure in row.values() if isinstance(figure, int | float)]
    assert record["benchmark"] == name
    assert figures
    assert all(map(math.isfinite, figures))
    return record


def test_variety_counts_operations_and_bytes_beside_its_ratios(tmp_path: Path) -> None:
    variety.main([*CPU, "--rows", "4", "--domains", "1", "4", "--repeats", "1", "--out", str(tmp_path)])
    rows = read(tmp_path, "variety-tiny-rows4")["rows"]
    assert [(row["domains"], row["spread"]) for row in rows] == [(1, "uniform"), (4, "uniform"), (4, "zipf")]
    for row in rows:
        assert row["distinct"] <= row["domains"]
        assert all(row[f"{part}_ratio"] > 0 for part in ("encode", "decode", "uneven"))
        # No exact way of serving a domain does less than the base alone.
        counted = [
            row[f"{part}_{what}_ratio"] for part in ("encode", "decode") for what in ("operations", "bytes")
        ]
        assert all(0 < ratio <= 1 for ratio in counted)
    (one, four, _) = rows
    assert four["decode_bytes_ratio"] < one["decode_bytes_ratio"]


def test_a_compressed_variety_has_a_file_of_its_own(tmp_path: Path) -> None:
    variety.main(
        [*CPU, "--rank", "3", "--rows", "2", "--domains", "2", "--repeats", "1", "--out", str(tmp_path)]
    )
    assert read(tmp_path, "variety-tiny-rows2-rank3")["compressed_rank"] == 3


def test_peft_is_named_with_its_version(tmp_path: Path) -> None:
    peft_lora.main([*CPU, "--rows", "2", "--domains", "2", "--repeats", "1", "--out", str(tmp_path)])
    record = read(tmp_path, "peft_lora-tiny")
    assert record["peft"].startswith("0.")
    (row,) = record["rows"]
    assert row["faster_than_hotswap"] == pytest.approx(row["hotswap_s"] / row["ours_s"], rel=1e-6)


def test_peft_alone_says_what_its_merged_adapter_says() -> None:
    """Both of their ways do the same work: else the slower one would prove nothing."""
    measured = subject("tiny", p=0.4)
    theirs = peft_lora.LoraSide(measured, 2)
    encoded = measured.encode(measured.waves(2))
    said: list[list[int]] = []

    def run(rows: list[int]) -> Tensor:
        tokens = theirs.subject.decode(encoded[rows], 6)
        said.extend(tokens.tolist())
        return tokens

    theirs.mixed([1, 2], partial(run, [0, 1]))
    theirs.swapped([1, 2], run)
    assert said[:2] == said[2:]
    assert said[0] != said[1]


def test_a_swap_is_timed_from_every_tier(tmp_path: Path) -> None:
    swap.main([*CPU, "--shapes", "tiny", "--repeats", "4", "--out", str(tmp_path)])
    rows = {row["what"]: row for row in read(tmp_path, "swap-tiny")["rows"]}
    for tier in ("disk, first time", "disk", "host memory", "slot"):
        assert 0 < rows[f"from {tier}"]["p50_ms"] <= rows[f"from {tier}"]["p99_ms"]
    assert rows["from slot"]["p50_ms"] < rows["from disk, first time"]["p50_ms"]
    assert "slots added or taken away, 16 domains stay" in rows
    assert {"publish", "publish to first transcript", "second transcript"} <= set(rows)
    assert "slower_by_batches" in rows["request, others loaded without a pause"]


def test_memory_is_that_of_files_and_slots(tmp_path: Path) -> None:
    memory.main([*CPU, "--shapes", "tiny", "--swaps", "4", "--out", str(tmp_path)])
    sizes = {row["what"]: row["bytes"] for row in read(tmp_path, "memory-tiny")["rows"]}
    assert sizes["slot on the device"] == sizes["dense cores in float32"]
    # Packed: half of the core in half the bytes, beside the singular values.
    assert sizes["packed in host memory"] < 0.5 * sizes["slot on the device"]
    assert sizes["packed in host memory"] < sizes["file on disk"]


def test_growth_has_a_slope_for_each_axis(tmp_path: Path) -> None:
    growth.main(
        [*CPU, "--batches", "1", "2", "--windows", "1", "2", "--domains", "1", "2", "--repeats", "1",
         "--out", str(tmp_path)]
    )  # fmt: skip
    slopes = read(tmp_path, "growth-tiny")["log_log_slope"]
    assert set(slopes) == {
        f"{part} by {axis}" for axis in ("batch", "domains", "window_s") for part in ("encode_s", "decode_s")
    }


def test_either_way_to_factorise_gives_the_same_product(tmp_path: Path) -> None:
    factorize.main([*CPU, "--out", str(tmp_path)])
    *weights, whole = read(tmp_path, "factorize")["rows"]
    assert all(row["deviation"] < 1e-12 for row in weights if "deviation" in row)
    assert whole["layers"] == sum(row["layers"] for row in weights)
    assert whole["svd_s"] == pytest.approx(sum(row["layers"] * row["svd_s"] for row in weights))


def test_agreement_is_told_by_the_token(tmp_path: Path) -> None:
    data = PACKAGED / "child" / "samples" / "test.jsonl"
    agreement.main(
        [*CPU, "--domain", "child", "--modes", "greedy", "--data", str(data), "--out", str(tmp_path)]
    )
    (row,) = read(tmp_path, "agreement-owsm-nano-child")["rows"]
    assert (row["utterances"], row["same"] + row["ties"], row["differ"]) == (
        agreement.QUICK,
        agreement.QUICK,
        0,
    )
    assert row["largest_score_deviation"] < 1e-3


def test_a_compressed_core_loses_and_saves_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compressed, "QUICK_UTTERANCES", 3)
    for domain in ("child", "scottish"):
        (tmp_path / f"{domain}-test").mkdir()
        samples = PACKAGED / domain / "samples"
        lines = [
            json.loads(line) for line in (samples / "test.jsonl").read_text(encoding="utf-8").splitlines()
        ]
        (tmp_path / f"{domain}-test" / "manifest.jsonl").write_text(
            "".join(json.dumps({**line, "audio": str(samples / line["audio"])}) + "\n" for line in lines),
            encoding="utf-8",
        )
    out = tmp_path / "out"
    compressed.main([*CPU, "--data", str(tmp_path), "--ranks", "8", "--out", str(out)])
    rows = read(out, "compressed-owsm-nano")["rows"]
    assert [(row["domain"], row["rank"]) for row in rows] == [
        (domain, rank) for domain in ("child", "scottish") for rank in ("whole", 8)
    ]
    for whole, held in zip(rows[::2], rows[1::2], strict=True):
        assert (whole["lost"], whole["numbers"]) == (0.0, 1.0)
        assert 0 < held["lost"] < 1
        assert held["numbers"] < 0.5


def test_forms_of_a_step_are_timed_by_way(tmp_path: Path) -> None:
    step_forms.main([*CPU, "--blocks", "2", "--repeats", "1", "--out", str(tmp_path)])
    rows = read(tmp_path, "step_forms")["rows"]
    assert len(rows) == 6
    assert all(row[f"{way}_us"] > 0 for row in rows for way in ("base", "cores", "folded", "merged"))


def test_the_suite_says_what_it_had_no_time_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[list[str]] = []
    begun: list[str] = []

    class Pretended:
        def __init__(self, words: list[str], *, env: dict[str, str], **_: Any) -> None:
            asked.append(words[1:])
            self.module, self.turn = words[2], Path(env[TURN])

        def wait(self, timeout: float | None = None) -> int:
            assert self.turn.exists()
            begun.append(self.module)
            assert len(asked) == len(runs)  # all are built before the first is timed
            if self.module == "benchmarks.swap" and timeout is not None:
                raise subprocess.TimeoutExpired(self.module, timeout)
            return int(self.module == "benchmarks.memory")

        def poll(self) -> int | None:
            built_file(self.turn).touch()
            return None

        def kill(self) -> None:
            begun.pop()

    monkeypatch.setattr(subprocess, "Popen", Pretended)
    runs = ["decode", "variety-rows256", "swap", "memory"]
    assert suite.main(["--out", str(tmp_path), "--only", *runs]) == 1
    assert capsys.readouterr().out.endswith("not done: --only swap memory\n")
    named = ["--device", "cuda", "--out", str(tmp_path)]
    assert asked[1][:8] == ["-m", "benchmarks.variety", *named, "--rows", "256"]


def test_a_benchmark_times_nothing_before_its_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turn, ran = tmp_path / "turn", []
    monkeypatch.setenv(TURN, str(turn))
    timing = threading.Thread(target=side_by_side, args=({"only": lambda: ran.append(1)}, 1))
    timing.start()
    time.sleep(0.2)
    assert ran == []
    turn.touch()
    timing.join(10)
    assert ran == [1, 1]


def test_rows_measured_before_an_end_are_kept(tmp_path: Path) -> None:
    def rows() -> Iterator[dict[str, object]]:
        yield {"figure": 1.0}
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write("cut", rows(), out=tmp_path)
    record = json.loads((tmp_path / "cut-cpu.json").read_text(encoding="utf-8"))
    assert (record["complete"], record["rows"]) == (False, [{"figure": 1.0}])
    write("cut", iter([{"figure": 1.0}]), out=tmp_path)
    assert json.loads((tmp_path / "cut-cpu.json").read_text(encoding="utf-8"))["complete"]


def test_kernels_of_a_step_are_counted_as_it_is_launched_and_as_it_is_replayed(tmp_path: Path) -> None:
    kernels.main([*CPU, "--rows", "2", "--domains", "0", "2", "--repeats", "1", "--out", str(tmp_path)])
    rows = read(tmp_path, "kernels-tiny")["rows"]
    assert [(row["what"], row["domains"]) for row in rows] == [
        (what, domains)
        for domains in (0, 2)
        for what in ("encode", "step, launched one by one", "step, static")
    ]
    assert all(row["kernels"] > 10 and row["longest"] for row in rows)


@pytest.mark.parametrize("run", suite.RUNS)
def test_every_run_of_the_suite_is_a_script_and_options_that_it_takes(run: str) -> None:
    module = importlib.import_module(f"benchmarks.{run.partition('-')[0]}")
    words = ["--device", "cpu", *suite.RUNS[run]]
    if hasattr(module, "_parse"):
        module._parse(words)  # an unknown option would end the process
