"""The number of threads follows what was measured, and asks no further than it must."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from server.threads import available, fastest


@pytest.mark.parametrize(
    ("cores", "most", "expected"), [(2, 4, 2), (64, 64, 64), (1, 1, 1), (8, 12, 8), (12, 12, 12), (6, 12, 8)]
)
def test_threads_without_a_core_of_their_own_are_not_used(cores: int, most: int, expected: int) -> None:
    asked: list[int] = []

    def seconds(threads: int) -> float:
        asked.append(threads)
        return 1 / min(threads, cores) + (0.001 * threads if threads > cores else 0.0)

    assert fastest(seconds, most) == expected
    assert asked == sorted(set(asked), reverse=True)
    assert min(asked) >= expected // 2  # one slower number is enough to know


@pytest.mark.parametrize(
    ("files", "cores"),
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
    files: dict[str, str], cores: int | None, tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="ascii")
    assert available(tmp_path) == (cores or len(os.sched_getaffinity(0)))


def test_twice_the_threads_for_nothing_are_left_to_others() -> None:
    assert fastest(lambda threads: 1.0 if threads >= 4 else 4 / threads, 8) == 4  # two to a core


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
        f"from server.threads import use_threads; print(use_threads({asked}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) in expected
