"""A store with two domains, an engine over a fake recogniser, and the real app around it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from adapters_store.store import AdapterStore
from server.app import create_app
from server.engine.engine import Engine
from server.engine.messages import Request
from server.engine.start import engine_over
from server.settings import ServerSettings
from tests.server.fakes import TIMEOUT_S, FakeRecogniser, write_adapter
from tests.speechlike import babble, wav_bytes


@pytest.fixture
def store(tmp_path: Path) -> AdapterStore:
    """`child` with two versions, the second active, and `scottish` with one."""
    store = AdapterStore(tmp_path / "store", builtin=tmp_path / "builtin")
    store.publish("child", write_adapter(tmp_path / "child1", 1))
    store.publish("child", write_adapter(tmp_path / "child2", 2, wer_before=0.4, wer_after=0.05))
    store.publish("scottish", write_adapter(tmp_path / "scottish1", 3))
    return store


@pytest.fixture
def recogniser() -> FakeRecogniser:
    return FakeRecogniser()


@pytest.fixture
def settings(tmp_path: Path) -> ServerSettings:
    """Small limits, so that a test can reach them."""
    return ServerSettings(
        store=tmp_path / "store",
        ui=False,
        max_upload_bytes=2_000_000,
        max_duration_s=20,
        queue_max_audio_s=30,
        batch_max_audio_s=8,
        preload=False,
        drain_timeout_s=5,
    )


@pytest.fixture
def engine(store: AdapterStore, recogniser: FakeRecogniser, settings: ServerSettings) -> Iterator[Engine]:
    engine = engine_over(recogniser, settings, store)
    yield engine
    recogniser.go.set()
    engine.close(timeout_s=5)


@pytest.fixture
def request_() -> Request:
    return Request(babble(2.0))


@pytest.fixture
def busy(engine: Engine, recogniser: FakeRecogniser, request_: Request) -> Iterator[FakeRecogniser]:
    """The device is in the middle of a piece, and stays there until `go`."""
    recogniser.go.clear()
    engine.submit(request_)
    assert recogniser.started.acquire(timeout=TIMEOUT_S)
    yield recogniser
    recogniser.go.set()


@pytest.fixture
def client(settings: ServerSettings, engine: Engine) -> Iterator[TestClient]:
    with TestClient(create_app(settings, engine), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="session")
def clip() -> bytes:
    """Two seconds that sound like speech, as a WAV file."""
    return wav_bytes(babble(2.0))
