"""A choice that is late, left, stopped or broken: each request is answered, and the device goes on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest

from adapters_store.store import AdapterStore
from adapters_store.versions import Version
from server.auto.wish import AutoWish
from server.bank.mount import Mount
from server.bank.packed import PackedAdapter
from server.engine.choice import Choice
from server.engine.engine import Engine
from server.engine.messages import Decoded, Piece, Reply, Request
from server.errors import DeadlineError, DrainingError
from tests.server.engine.test_choosing import LONG, PLACES, summary
from tests.server.fakes import DIGEST, TIMEOUT_S, FakeRecogniser, read_packed, wait_until
from tests.speechlike import babble


@pytest.fixture(autouse=True)
def described(store: AdapterStore, recogniser: FakeRecogniser) -> None:
    for name, place in PLACES.items():
        store.voices.write(DIGEST if name is None else store.resolve(name).sha256, summary(place))
    recogniser.voice = np.asarray(PLACES["scottish"], np.float32)


class Disk:
    """Where a load waits until `go`."""

    def __init__(self) -> None:
        self.go, self.begun = threading.Event(), threading.Event()

    def read(self, version: Version) -> PackedAdapter:
        self.begun.set()
        assert self.go.wait(TIMEOUT_S)
        return read_packed(version)


@pytest.fixture
def disk(engine: Engine, recogniser: FakeRecogniser) -> Iterator[Disk]:
    """One that hangs from now on. `child` is in memory."""
    say(engine, Request(babble(2.0), domain="child"))
    recogniser.pieces.clear()
    recogniser.loads.clear()
    disk = Disk()
    recogniser.read = disk.read
    yield disk
    disk.go.set()


def say(engine: Engine, request: Request) -> Reply:
    return engine.submit(request).result(TIMEOUT_S)


def make_late(engine: Engine) -> None:
    for job in list(engine._unfinished):
        job.deadline_s = 0.0


def test_a_hint_that_is_late_costs_no_reply(engine: Engine, recogniser: FakeRecogniser, disk: Disk) -> None:
    future = engine.submit(Request(babble(2.0), domain="child", hint=True))
    wait_until(lambda: any(not piece.listens for piece in recogniser.pieces))
    assert disk.begun.wait(TIMEOUT_S)
    make_late(engine)
    disk.go.set()
    assert future.result(TIMEOUT_S).text == "child words of version 2"


def test_a_hint_takes_no_room_in_the_queue(engine: Engine) -> None:
    assert say(engine, Request(np.tile(LONG, 2), domain="child", hint=True)).text


def test_a_choice_that_is_late_is_answered_so(engine: Engine, disk: Disk) -> None:
    future = engine.submit(Request(babble(2.0), auto=AutoWish()))
    assert disk.begun.wait(TIMEOUT_S)
    make_late(engine)
    disk.go.set()
    with pytest.raises(DeadlineError):
        future.result(TIMEOUT_S)
    wait_until(lambda: engine.idle)


def test_a_trial_that_is_late_is_not_merely_left_out_of_the_choice(
    engine: Engine, recogniser: FakeRecogniser, monkeypatch: pytest.MonkeyPatch
) -> None:
    recogniser.voice = np.asarray([3.0, 3.0], np.float32)
    engine._batches.max_audio_s = engine._batches.budget_s = 4  # one row a batch, the base's first
    decode = recogniser.decode

    def then_late(pieces: Sequence[Piece], mount: Mount) -> list[Decoded]:
        decoded = decode(pieces, mount)
        if not pieces[0].listens:
            make_late(engine)
        return decoded

    monkeypatch.setattr(recogniser, "decode", then_late)
    with pytest.raises(DeadlineError):
        say(engine, Request(babble(2.0), auto=AutoWish()))
    assert recogniser.batches == [[None], [None]]


def test_only_the_chosen_one_is_held_while_the_rest_is_decoded(
    engine: Engine, recogniser: FakeRecogniser, store: AdapterStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    recogniser.finds = {"child": -1.0}
    engine.auto_options = replace(engine.auto_options, sure=2.0, heard_s=3.0)
    engine._batches.max_audio_s = engine._batches.budget_s = 4  # one row a batch
    scottish = store.resolve("scottish").sha256
    held: list[bool] = []
    decode = recogniser.decode

    def noted(pieces: Sequence[Piece], mount: Mount) -> list[Decoded]:
        if pieces[0].start_s > 0:
            held.append(engine.domains.bank.host.leased(scottish))
        return decode(pieces, mount)

    monkeypatch.setattr(recogniser, "decode", noted)
    assert say(engine, Request(LONG, auto=AutoWish())).provenance.domain == "child"
    assert held
    assert not any(held)


def test_a_request_that_is_left_during_its_choice_loads_nothing_more(
    engine: Engine, recogniser: FakeRecogniser, disk: Disk, store: AdapterStore
) -> None:
    engine.auto_options = replace(engine.auto_options, sure=2.0)
    future = engine.submit(Request(babble(2.0), auto=AutoWish(("scottish", "child@1"))))
    assert disk.begun.wait(TIMEOUT_S)
    assert future.cancel()
    disk.go.set()
    wait_until(lambda: not engine.domains.bank.host.leased(store.resolve("scottish").sha256))
    say(engine, Request(babble(2.0), auto=AutoWish(("scottish",))))
    assert len(recogniser.loads) == 1


def test_a_choice_that_was_begun_is_finished_before_the_engine_closes(engine: Engine, disk: Disk) -> None:
    future = engine.submit(Request(babble(2.0), auto=AutoWish()))
    assert disk.begun.wait(TIMEOUT_S)
    closing = threading.Thread(target=engine.close, args=(TIMEOUT_S,))
    closing.start()
    wait_until(lambda: not engine.ready)
    disk.go.set()
    assert future.result(TIMEOUT_S).provenance.domain == "scottish"
    closing.join(TIMEOUT_S)
    assert not engine.alive


def test_a_voice_that_is_heard_after_the_close_does_not_end_the_thread_with_an_error(
    engine: Engine, recogniser: FakeRecogniser, caplog: pytest.LogCaptureFixture
) -> None:
    recogniser.go.clear()
    future = engine.submit(Request(babble(2.0), auto=AutoWish()))
    assert recogniser.started.acquire(timeout=TIMEOUT_S)
    engine.close(timeout_s=0.05)
    with pytest.raises(DrainingError):
        future.result(TIMEOUT_S)
    recogniser.go.set()
    engine._thread.join(TIMEOUT_S)
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR]


@pytest.mark.parametrize("where", ["_open", "_compare_if_all_are_there"])
@pytest.mark.parametrize("hint", [False, True])
def test_an_error_in_a_choice_is_its_requests_alone(
    where: str, hint: bool, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.auto_options = replace(engine.auto_options, sure=2.0)

    def broken(_: Choice) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(engine._chooser, where, broken)
    request = Request(babble(2.0), domain="child", hint=True) if hint else Request(LONG, auto=AutoWish())
    future = engine.submit(request)
    if hint:
        assert future.result(TIMEOUT_S).text == "child words of version 2"
    else:
        with pytest.raises(ZeroDivisionError):
            future.result(TIMEOUT_S)
    assert say(engine, Request(babble(2.0))).text == "base words"
    wait_until(lambda: engine.idle)
