"""The number of threads follows what was measured, and asks no further than it must."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from server.engine.threads import available, cores, fastest


@pytest.mark.parametrize(("of_two", "expected"), [(0.9, 8), (0.97, 4), (1.3, 4)])
def test_second_threads_of_a_core_are_used_where_they_are_worth_it(of_two: float, expected: int) -> None:
    assert fastest(lambda threads: of_two if threads == 8 else 1.0, 8, 4) == expected


def test_nothing_is_measured_where_each_thread_has_its_core() -> None:
    def busy(_: int) -> float:
        raise AssertionError("a busy moment must not decide")

    assert fastest(busy, 4, 4) == 4
    assert fastest(busy, 2, 8) == 2  # a quota of two on eight cores


def test_hardware_threads_of_one_core_count_once(tmp_path: Path) -> None:
    allowed = sorted(os.sched_getaffinity(0))
    for index in allowed:
        folder = tmp_path / f"cpu{index}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{allowed[0]}-{allowed[-1]}\n", encoding="ascii")
    assert cores(tmp_path) == 1
    assert cores(tmp_path / "none") == len(allowed)


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, None),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.max": "100000 100000\n"}, 1),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
    ],
)
def test_a_containers_quota_bounds_the_threads(
    files: dict[str, str], quota: int | None, tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="ascii")
    assert available(tmp_path) == (quota or len(os.sched_getaffinity(0)))


@pytest.mark.parametrize(
    ("environment", "asked", "expected"),
    [({"OMP_NUM_THREADS": "1"}, 0, {1}), ({}, 1, {1}), ({}, 0, {1, 2, 3, 4})],
)
def test_what_was_asked_for_is_what_torch_uses(
    environment: dict[str, str], asked: int, expected: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    code = (
        "import os; os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:4])\n"
        f"from server.engine.threads import use_threads; print(use_threads({asked}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) in expected
