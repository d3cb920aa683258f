"""Progress is a bar on a terminal and plain lines elsewhere."""

from __future__ import annotations

import io
import sys

import pytest

from ssvd_asr import progress
from ssvd_asr.progress import progress_bar, say


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_INTERVAL_S", 0.0)


@pytest.mark.usefixtures("every_step")
def test_a_file_gets_whole_lines_without_escape_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with progress_bar(total=3, desc="decoding", unit="utt") as bar:
        for step in range(3):
            bar.update()
            bar.set_postfix_str(f"loss {step}")
            say(bar, "said", error=True)
    written = sys.stderr.getvalue()
    assert "\r" not in written
    assert "\x1b" not in written
    lines = written.splitlines()
    assert lines[0].startswith("decoding: 1 of 3 utt in 00:00")
    assert lines[-1].startswith("decoding: 3 of 3 utt in 00:00")
    assert lines[-1].endswith("loss 2")
    assert lines.count("said") == 3


def test_a_short_job_writes_one_line_and_one_that_leaves_nothing_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    for _ in progress_bar(iterable="abc", total=3, desc="validating", unit="batch", leave=False):
        pass
    assert sys.stderr.getvalue() == ""
    with progress_bar(total=3, desc="decoding", unit="utt") as bar:
        bar.update(3)
    assert sys.stderr.getvalue().count("\n") == 1
    with progress_bar(total=3, desc="decoding", unit="utt", disable=True) as bar:
        bar.update(3)
    assert sys.stderr.getvalue().count("\n") == 1


@pytest.mark.usefixtures("every_step")
def test_steps_done_before_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with progress_bar(total=3, initial=1, desc="decoding", unit="utt") as bar:
        bar.update()
    assert sys.stderr.getvalue().startswith("decoding: 2 of 3 utt")


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress_bar(total=2, desc="decoding", unit="utt") as bar:
        bar.update(2)
    assert "\rdecoding: 100%|" in sys.stderr.getvalue()
