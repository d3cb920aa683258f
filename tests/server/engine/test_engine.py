"""One thread, one queue: whole requests, in order, cancellable, and a full queue says when to come again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, wait
from dataclasses import replace

import numpy as np
import pytest

from adapters_store.store import AdapterStore
from server.engine.engine import Engine
from server.engine.messages import Request
from server.errors import DeadlineError, QueueFullError
from ssvd_asr.errors import LanguageError, UnknownDomainError
from tests.server.fakes import BASE, DIGEST, TIMEOUT_S, WINDOW_S, FakeRecogniser
from tests.speechlike import babble, phrases


def test_a_reply_names_the_bytes_that_made_it(engine: Engine, store: AdapterStore, request_: Request) -> None:
    base = engine.submit(request_).result(TIMEOUT_S)
    child = engine.submit(replace(request_, domain="child@1")).result(TIMEOUT_S)
    assert base.text == "base words"
    assert (base.provenance.base, base.provenance.base_digest) == (BASE, DIGEST)
    assert (base.provenance.domain, base.provenance.adapter_sha256) == (None, None)
    assert child.text == "child words of version 1"
    assert (child.provenance.domain, child.provenance.adapter_version) == ("child", 1)
    assert child.provenance.adapter_sha256 == store.resolve("child@1").sha256


def test_audio_longer_than_the_window_is_cut_decoded_in_pieces_and_joined(
    engine: Engine, recogniser: FakeRecogniser
) -> None:
    wave = phrases(2, gap_s=4.0)
    reply = engine.submit(Request(wave, domain="child")).result(TIMEOUT_S)
    assert len(recogniser.pieces) > 1
    assert all(len(piece.wave) <= WINDOW_S * 16_000 for piece in recogniser.pieces)
    assert reply.text == " ".join(["child words of version 2"] * len(recogniser.pieces))
    starts = [segment.start_s for segment in reply.segments]
    assert starts == sorted(starts)
    assert reply.segments[-1].end_s <= reply.duration_s == len(wave) / 16_000


def test_silence_is_an_empty_reply_and_never_reaches_the_device(
    engine: Engine, recogniser: FakeRecogniser
) -> None:
    reply = engine.submit(Request(np.zeros(16_000 * 10, np.float32), domain="child")).result(TIMEOUT_S)
    assert (reply.text, reply.segments) == ("", ())
    assert reply.provenance.domain == "child"
    assert recogniser.pieces == []


def test_all_decoding_is_on_one_thread(engine: Engine, recogniser: FakeRecogniser, request_: Request) -> None:
    futures = [engine.submit(replace(request_, domain=d)) for d in (None, "child", "scottish", "child", None)]
    assert [future.result(TIMEOUT_S).provenance.domain for future in futures] == [
        None, "child", "scottish", "child", None,
    ]  # fmt: skip
    assert recogniser.threads == {"ssvd-device"}


def test_a_refusal_is_raised_at_once_and_queues_nothing(engine: Engine, request_: Request) -> None:
    with pytest.raises(UnknownDomainError):
        engine.submit(replace(request_, domain="klingon"))
    with pytest.raises(LanguageError, match=r"fake-owsm has no language '<tlh>'"):
        engine.submit(replace(request_, language="<tlh>"))
    assert engine.waiting_s == 0


def test_a_full_queue_names_the_limit_the_setting_and_when_to_come_again(
    engine: Engine, busy: FakeRecogniser
) -> None:
    accepted = [engine.submit(Request(babble(4.0))) for _ in range(7)]
    assert engine.waiting_s == pytest.approx(28)  # the piece on the device no longer waits
    with pytest.raises(QueueFullError, match=r"limit is 30 s \(SSVD_QUEUE_MAX_AUDIO_S\)") as refusal:
        engine.submit(Request(babble(4.0)))
    assert refusal.value.retry_after_s == 6  # 28 s, until it is measured at 5 s in a second
    busy.go.set()
    assert [future.result(TIMEOUT_S).text for future in accepted] == ["base words"] * 7


@pytest.mark.usefixtures("busy")
def test_who_is_refused_comes_again_when_the_device_has_worked_through_the_padding(engine: Engine) -> None:
    for _ in range(30):
        engine.submit(Request(babble(1.0)))
    engine._batches.speed = 30.0
    with pytest.raises(QueueFullError, match="30 s of audio wait and 1 s more") as refusal:
        engine.submit(Request(babble(1.0)))
    assert refusal.value.retry_after_s == 30 * WINDOW_S / 30


def test_a_request_that_would_be_late_is_refused_now_unless_the_speed_is_a_guess(
    engine: Engine, busy: FakeRecogniser, request_: Request
) -> None:
    engine.request_timeout_s, engine._batches.speed = 20.0, 0.1
    for _ in range(6):
        engine.submit(request_)  # as slow as that only by the guess
    engine.submit(replace(request_, domain="child"))
    engine._batches.speed = 1.0
    engine._batches.measured = True
    with pytest.raises(
        QueueFullError, match=r"takes about 28 s: the limit is 20 s \(SSVD_REQUEST_TIMEOUT_S\)"
    ) as refusal:
        engine.submit(request_)
    assert refusal.value.retry_after_s == 28
    accepted = engine.submit(replace(request_, domain="scottish"))  # its turn is long before those
    busy.go.set()
    assert accepted.result(TIMEOUT_S).text == "scottish words of version 1"


def test_a_request_cancelled_before_it_starts_is_never_decoded(
    engine: Engine, busy: FakeRecogniser, request_: Request
) -> None:
    cancelled = engine.submit(replace(request_, domain="child"))
    kept = engine.submit(replace(request_, domain="scottish"))
    assert cancelled.cancel()
    busy.go.set()
    assert kept.result(TIMEOUT_S).provenance.domain == "scottish"
    with pytest.raises(CancelledError):
        cancelled.result(0)
    assert [piece.lease.name for piece in busy.pieces if piece.lease] == ["scottish"]


def test_a_request_cancelled_half_way_leaves_the_rest_of_it_undecoded(
    engine: Engine, recogniser: FakeRecogniser
) -> None:
    recogniser.go.clear()
    future = engine.submit(Request(babble(16.0)))
    assert recogniser.started.acquire(timeout=TIMEOUT_S)
    assert future.cancel()
    recogniser.go.set()
    engine.submit(Request(babble(2.0), domain="child")).result(TIMEOUT_S)
    assert recogniser.batches == [[None, None], ["child"]]  # of five pieces, two were begun


def test_rows_of_any_domains_share_a_batch(engine: Engine, busy: FakeRecogniser, request_: Request) -> None:
    engine._batches.budget_s = 40.0
    domains = ("child", None, "scottish", "child@1")
    futures = [engine.submit(replace(request_, domain=domain)) for domain in domains]
    busy.go.set()
    assert [future.result(TIMEOUT_S).text for future in futures] == [
        "child words of version 2", "base words", "scottish words of version 1", "child words of version 1",
    ]  # fmt: skip
    assert len(busy.batches) == 2
    assert sorted(map(str, busy.batches[1])) == ["None", "child", "child", "scottish"]


@pytest.mark.parametrize("ending", ["result", "cancel", "failure"])
def test_a_lease_is_given_back_however_a_request_ends(
    engine: Engine, busy: FakeRecogniser, store: AdapterStore, request_: Request, ending: str
) -> None:
    sha256, host = store.resolve("child").sha256, engine.domains.bank.host
    future = engine.submit(replace(request_, domain="child"))
    assert host.leased(sha256)
    if ending == "cancel":
        future.cancel()
    if ending == "failure":
        busy.fail = RuntimeError("out of luck")
    busy.go.set()
    wait([future], TIMEOUT_S)
    assert _soon(lambda: not host.leased(sha256))  # callbacks run after those who wait have been woken


def test_a_request_that_does_not_fit_the_queue_gives_its_lease_back(
    engine: Engine, store: AdapterStore, monkeypatch: pytest.MonkeyPatch, request_: Request
) -> None:
    monkeypatch.setattr(engine._queue, "max_audio_s", 1.0)
    with pytest.raises(QueueFullError):
        engine.submit(replace(request_, domain="child"))
    assert not engine.domains.bank.host.leased(store.resolve("child").sha256)


def test_a_request_whose_time_is_over_is_told_the_setting_and_not_decoded(
    engine: Engine, busy: FakeRecogniser, request_: Request
) -> None:
    engine.request_timeout_s = 0.0
    late = engine.submit(request_)
    busy.go.set()
    with pytest.raises(DeadlineError, match=r"within 0 s of its arrival \(SSVD_REQUEST_TIMEOUT_S\)"):
        late.result(TIMEOUT_S)
    assert len(busy.batches) == 1


def _soon(true: Callable[[], bool]) -> bool:
    for _ in range(1000):
        if true():
            return True
        time.sleep(0.01)
    return False


def test_a_failure_is_one_request_s_and_the_thread_goes_on(
    engine: Engine, recogniser: FakeRecogniser, request_: Request, caplog: pytest.LogCaptureFixture
) -> None:
    recogniser.fail = RuntimeError("a bug")
    with caplog.at_level(logging.ERROR), pytest.raises(RuntimeError, match="a bug"):
        engine.submit(request_).result(TIMEOUT_S)
    recogniser.fail = None
    assert engine.submit(request_).result(TIMEOUT_S).text == "base words"
    assert engine.ready


def test_a_lease_taken_before_a_publish_serves_the_old_version(
    engine: Engine, busy: FakeRecogniser, store: AdapterStore, request_: Request
) -> None:
    """Promise 5: the domain is resolved once, when the request comes in."""
    early = engine.submit(replace(request_, domain="child"))
    store.rollback("child")
    late = engine.submit(replace(request_, domain="child"))
    busy.go.set()
    assert early.result(TIMEOUT_S).text == "child words of version 2"
    assert late.result(TIMEOUT_S).text == "child words of version 1"
