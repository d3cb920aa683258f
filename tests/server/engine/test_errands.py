"""Errands on the device's thread, and the one they are for: the canary of an adapter to be published."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from adapters_store.store import AdapterStore
from server.engine.engine import Engine
from server.engine.errands import Errands
from server.engine.messages import Request
from server.engine.model_recogniser import ModelRecogniser
from server.engine.start import engine_over
from server.errors import DeadlineError, DrainingError
from server.settings import ServerSettings
from ssvd_asr.adapter.read import load_adapter
from ssvd_asr.adapter.write import save_adapter
from ssvd_asr.errors import AdapterError
from tests.random_owsm import write_random_owsm
from tests.server.fakes import TIMEOUT_S, FakeRecogniser, wait_until, write_adapter
from tests.server.real import write_sealed_adapter
from tests.speechlike import babble


def test_an_idle_device_runs_an_errand_at_once(engine: Engine, tmp_path: Path) -> None:
    engine.check_adapter(write_adapter(tmp_path / "new", 7))


def test_a_device_that_ends_fails_what_waits_and_what_comes(
    engine: Engine, busy: FakeRecogniser, tmp_path: Path
) -> None:
    file = write_adapter(tmp_path / "new", 7)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(engine.check_adapter, file)
        wait_until(lambda: waiting.done() or engine._errands)
        assert not waiting.done()
        busy.fail = SystemExit()
        busy.go.set()
        with pytest.raises((DrainingError, SystemExit)):
            waiting.result(TIMEOUT_S)
    with pytest.raises(DrainingError):
        engine.check_adapter(file)


def test_an_errand_that_comes_too_late_is_refused(
    engine: Engine, busy: FakeRecogniser, tmp_path: Path
) -> None:
    engine.request_timeout_s = 0.01
    with pytest.raises(DeadlineError, match="SSVD_REQUEST_TIMEOUT_S"):
        engine.check_adapter(write_adapter(tmp_path / "new", 7))
    busy.go.set()
    engine.close(TIMEOUT_S)
    assert busy.canaries == []  # it was called off


def test_closed_errands_fail_at_once() -> None:
    errands = Errands(lambda: None)
    waiting = errands.add(lambda: None)
    errands.close(DrainingError("over"))
    for future in (waiting, errands.add(lambda: None)):
        with pytest.raises(DrainingError, match="over"):
            future.result(0)


def test_the_canary_runs_beside_requests_and_changes_none_of_their_words(tmp_path: Path) -> None:
    folder, cache = write_random_owsm(tmp_path / "tiny"), tmp_path / "cache"
    good = write_sealed_adapter(tmp_path / "good", folder, cache)
    loaded = load_adapter(good)
    canary = loaded.metadata.canary
    assert canary is not None
    name, output = next(iter(canary.outputs.items()))
    off = output.model_copy(update={"adapter": tuple(each + output.scale for each in output.adapter)})
    outputs = {**canary.outputs, name: off}
    changed = {"canary": canary.model_copy(update={"outputs": outputs})}
    bad = tmp_path / "bad"
    save_adapter(bad, loaded.adapter, metadata=loaded.metadata.model_copy(update=changed))
    real = ModelRecogniser.load(str(folder), device="cpu", dtype="auto", cache_dir=cache)
    store = AdapterStore(tmp_path / "store", builtin=tmp_path / "none")
    store.publish("child", good)
    engine = engine_over(real, ServerSettings(), store)
    weights = {name: tensor.clone() for name, tensor in real._base.network.state_dict().items()}
    stop = threading.Event()
    try:
        wave = babble(2.0)
        asked = [Request(wave, domain="child"), Request(wave)]
        alone = [engine.submit(each).result(60).text for each in asked]

        def go_on() -> None:
            while not stop.is_set():
                engine.check_adapter(good)

        with ThreadPoolExecutor() as pool:
            checking = pool.submit(go_on)
            for _ in range(3):
                replies = [each.result(60).text for each in [engine.submit(each) for each in asked]]
                assert replies == alone
            stop.set()
            checking.result(60)
        with pytest.raises(AdapterError, match="canary"):
            engine.check_adapter(bad)
        assert [engine.submit(each).result(60).text for each in asked] == alone
    finally:
        stop.set()
        engine.close(timeout_s=30)
    assert all(torch.equal(each, weights[name]) for name, each in real._base.network.state_dict().items())
