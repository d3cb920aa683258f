"""Stopping, and a device whose thread dies: nothing accepted is left without an answer."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from server.engine.engine import Engine
from server.engine.messages import Request
from server.errors import DrainingError
from ssvd_asr.audio.segment import FloatArray, Span
from tests.server.fakes import TIMEOUT_S, FakeRecogniser


def test_draining_refuses_new_work_and_finishes_the_old(
    engine: Engine, busy: FakeRecogniser, request_: Request
) -> None:
    accepted = engine.submit(request_)
    engine.drain()
    assert not engine.ready
    with pytest.raises(DrainingError, match="stopping"):
        engine.submit(request_)
    busy.go.set()
    assert accepted.result(TIMEOUT_S).text == "base words"


@pytest.mark.usefixtures("busy")
def test_closing_fails_what_the_deadline_cut_off(engine: Engine, request_: Request) -> None:
    waiting = engine.submit(request_)
    engine.close(timeout_s=0.05)
    with pytest.raises(DrainingError, match="SSVD_DRAIN_TIMEOUT_S"):
        waiting.result(0)


def test_closing_fails_what_is_still_on_the_device(
    engine: Engine, recogniser: FakeRecogniser, request_: Request, caplog: pytest.LogCaptureFixture
) -> None:
    recogniser.go.clear()
    running = engine.submit(replace(request_, domain="child"))
    assert recogniser.started.acquire(timeout=TIMEOUT_S)
    engine.close(timeout_s=0.05)
    with pytest.raises(DrainingError, match="SSVD_DRAIN_TIMEOUT_S"):
        running.result(0)
    assert engine.idle
    with caplog.at_level(logging.ERROR):
        recogniser.go.set()
        engine._thread.join(TIMEOUT_S)
    assert caplog.records == []  # it comes too late, and does no harm


class SlowCut:
    """Keeps a request in the cutting until `go`."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()

    def __call__(self, wave: FloatArray, *_: object, **__: object) -> Sequence[Span]:
        self.begun.set()
        assert self.go.wait(TIMEOUT_S)
        return [Span(0, len(wave))]


def test_when_the_device_s_thread_dies_every_request_is_told_even_one_that_is_being_cut(
    engine: Engine, recogniser: FakeRecogniser, request_: Request, caplog: pytest.LogCaptureFixture
) -> None:
    recogniser.go.clear()
    running = engine.submit(request_)
    assert recogniser.started.acquire(timeout=TIMEOUT_S)
    waiting = engine.submit(replace(request_, domain="child"))
    engine._cut_wave = cut = SlowCut()
    with ThreadPoolExecutor(1) as client, caplog.at_level(logging.CRITICAL):
        submitting = client.submit(engine.submit, replace(request_, domain="scottish"))
        assert cut.begun.wait(TIMEOUT_S)
        recogniser.fail = SystemExit("the driver is gone")
        recogniser.go.set()
        engine._thread.join(TIMEOUT_S)
        cut.go.set()
        with pytest.raises(DrainingError, match="takes no new requests"):
            submitting.result(TIMEOUT_S)
    for future in (running, waiting):
        with pytest.raises(DrainingError, match="thread has ended; the server's log has the reason"):
            future.result(0)
    assert "the driver is gone" in caplog.text
    assert not engine.ready
    assert engine.idle
    assert not engine.domains.bank.host._leases
