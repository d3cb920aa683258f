"""Soak and load judge what they saw as they say they do; their long runs are commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import load, operations
from benchmarks.soak import is_wrong
from benchmarks.soak_watch import COMPARED, WARM_UP, WINDOWS, Watch
from benchmarks.traffic import LOST, REFUSED, TRANSCRIBED, Answer, clips
from tests.server.history import History

ROOT = Path(__file__).parents[2]


def answer(outcome: str, ended_s: float = 1.0, took_s: float = 0.5, **more: str | None) -> Answer:
    return Answer(ended_s - took_s, ended_s, outcome, **more)  # type: ignore[arg-type]


@pytest.fixture
def history() -> History:
    """Of a domain that a digest answered for from 0 s to 1 s, another to 2 s, and none after that."""
    history = History(["ward"])
    history.changes["ward"] = [(0.0, 0.0, "first"), (1.0, 1.0, "second"), (2.0, 2.0, None)]
    return history


@pytest.mark.parametrize(
    ("digest", "began_s", "ended_s", "wrong"),
    [
        ("first", 0.1, 0.9, False),
        ("first", 0.9, 1.5, False),
        ("second", 0.9, 1.5, False),
        ("second", 0.1, 0.9, True),
        ("first", 1.1, 1.5, True),
        ("third", 0.1, 0.9, True),
        (None, 0.1, 0.9, True),
    ],
)
def test_a_digest_that_answered_at_no_moment_of_the_request_is_wrong(
    history: History, digest: str | None, began_s: float, ended_s: float, wrong: bool
) -> None:
    seen = Answer(began_s, ended_s, TRANSCRIBED, "ward", digest=digest, named="ward")
    assert is_wrong(seen, history) == wrong


def test_another_domain_and_a_base_with_an_adapter_are_wrong(history: History) -> None:
    assert is_wrong(Answer(0.1, 0.9, TRANSCRIBED, "ward", digest="first", named="court"), history)
    assert is_wrong(Answer(0.1, 0.9, TRANSCRIBED, None, digest="first", named="ward"), history)
    assert not is_wrong(Answer(0.1, 0.9, TRANSCRIBED, None), history)


def test_an_unknown_domain_is_wrong_while_it_is_there(history: History) -> None:
    code = "domain_not_found"
    assert is_wrong(Answer(0.1, 0.9, REFUSED, "ward", code), history)
    assert not is_wrong(Answer(1.9, 2.5, REFUSED, "ward", code), history)
    assert not is_wrong(Answer(0.1, 0.9, REFUSED, "ward", "queue_full"), history)


def test_the_windows_of_a_watch_tell_growth_and_latency() -> None:
    watch = Watch("http://nowhere")
    watch.began_s, watch.window_s = 100.0, 1.0
    watch.memory_mib = [10.0 * window for window in range(WINDOWS)]
    answers = [
        answer(TRANSCRIBED, 100.5 + window, 0.5 if window < WARM_UP + COMPARED else 1.5)
        for window in range(WINDOWS)
    ]
    assert watch.growth_mib() == 10.0 * (WINDOWS - WARM_UP - COMPARED)
    assert watch.slower(answers) == 3.0
    assert watch.slower([]) is None
    rows = watch.windows([*answers, answer(REFUSED, 100.1), answer(LOST, 100.1)])
    assert [row["transcribed"] for row in rows] == [1] * WINDOWS
    assert [row["refused"] for row in rows] == [1] + [0] * (WINDOWS - 1)
    assert rows[0]["p95_s"] == 0.5


def test_a_mix_weighs_domains_by_their_rank() -> None:
    assert load.weights("uniform", 3) == [1, 1, 1]
    assert load.weights("zipf", 3) == [1, 1 / 2, 1 / 3]
    assert load.weights("one-hot", 3) == [1, 0, 0]


def test_a_summary_counts_refusals_by_code_and_times_what_was_transcribed() -> None:
    seen = [{"began_s": 0.0, "ended_s": float(second), "code": ""} for second in range(1, 101)]
    seen += [{"began_s": 0.0, "ended_s": 0.1, "code": "queue_full"}] * 2
    assert load.summary(seen, 10.0) == {
        "transcribed_per_s": 10.0, "p50_s": 51.0, "p95_s": 96.0, "p99_s": 100.0, "refused": "2 queue_full",
    }  # fmt: skip
    assert load.summary([], 1.0)["p50_s"] is None


def test_the_clips_are_of_every_packaged_domain_and_differ() -> None:
    found = clips(20)
    assert len(found) == len(set(found)) == 20


def test_a_quick_record_is_not_written_beside_the_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(operations, "RESULTS", tmp_path)
    operations.save("a.json", {"value": 1}, None, quick=True)
    assert list(tmp_path.iterdir()) == []
    assert json.loads(capsys.readouterr().out)["value"] == 1
    operations.save("a.json", {"value": 1}, None, quick=False)
    assert json.loads((tmp_path / "a.json").read_text())["quick"] is False


def test_the_page_is_that_of_the_records() -> None:
    path = operations.RESULTS / operations.PAGE
    if path.is_file():
        assert path.read_text(encoding="utf-8") == operations.page(operations.RESULTS)


def test_the_plan_of_locust_has_one_name() -> None:
    """Only locust can import its users, since gevent would change the process."""
    text = (ROOT / "benchmarks" / "load_users.py").read_text(encoding="utf-8")
    assert f'PLAN_VARIABLE = "{load.PLAN_VARIABLE}"' in text
