"""The number of threads follows what was measured, and asks no further than it must."""

from __future__ import annotations

import subprocess
import sys

import pytest

from server.threads import fastest


@pytest.mark.parametrize(
    ("quota", "most", "expected"),
    [(2, 64, 2), (64, 64, 64), (1, 1, 1), (8, 12, 8), (12, 12, 12), (6, 12, 8)],
)
def test_threads_beyond_the_cores_that_are_given_are_not_used(quota: int, most: int, expected: int) -> None:
    asked: list[int] = []

    def seconds(threads: int) -> float:
        asked.append(threads)
        return 1 / min(threads, quota) + (0.001 * threads if threads > quota else 0.0)

    assert fastest(seconds, most) == expected
    assert asked == sorted(set(asked), reverse=True)
    assert min(asked) >= expected // 2  # one slower number is enough to know


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
