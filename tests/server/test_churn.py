"""Promises 1-5 under load: whatever is published, rolled back, evicted, removed or broken meanwhile, every
transcript is that of its row alone with the exact version that the reply names."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from adapters_store.store import AdapterStore
from adapters_store.versions import Version
from server.bank.loader import LoaderError
from server.bank.mount import Mount
from server.bank.packed import PackedAdapter
from server.engine.engine import Engine
from server.engine.messages import Decoded, Piece, Request
from server.engine.model_recogniser import ModelRecogniser
from server.engine.start import engine_over
from server.errors import DrainingError, OutOfMemoryError
from server.settings import ServerSettings
from ssvd_asr.errors import AdapterUnreadableError
from ssvd_asr.mixing.core_stack import CoreStack
from tests.devices import DEVICES
from tests.random_owsm import write_random_owsm
from tests.server.churn import LASTING, NAMES, TIMEOUT_S, Churn, Oracle, write_adapters
from tests.speechlike import babble

ADAPTERS = 9
SLOTS = 4  # on the device, the base's among them: domains are evicted all the time
HELD = 7  # in host memory: some come from disk again
IN_USE = 3  # blends, at the same time


class FaultyOwsm(ModelRecogniser):
    """Breaks now and then in each of the ways that a machine does."""

    faults: Mapping[str, int] = {}  # each strikes at every so-many-th chance
    chances: Counter[str]
    struck: Counter[str]

    def suffer(self, **faults: int) -> None:
        """From now on these faults, and none else."""
        self.chances, self.struck = Counter(), Counter()
        self.faults = {fault.replace("_", " "): every for fault, every in faults.items()}

    def _strikes(self, fault: str) -> bool:
        if fault not in self.faults:
            return False
        self.chances[fault] += 1
        strikes = self.chances[fault] % self.faults[fault] == 0
        self.struck[fault] += strikes
        return strikes

    def read_adapter(self, version: Version) -> PackedAdapter:
        if self._strikes("killed loader"):
            raise SystemExit
        if self._strikes("read"):
            raise AdapterUnreadableError("the disk has gone")
        return super().read_adapter(version)

    def make_stack(self, slots: int, k: Mapping[str, int]) -> CoreStack:
        stack, whole = super().make_stack(slots, k), CoreStack.write

        def write(slot: int, cores: Mapping[str, Tensor]) -> None:
            if self._strikes("half a write"):
                whole(stack, slot, dict(list(cores.items())[: len(cores) // 2]))
                raise torch.OutOfMemoryError("half-way through a load")
            whole(stack, slot, cores)

        stack.write = write  # type: ignore[method-assign]
        return stack

    def decode(self, pieces: Sequence[Piece], mount: Mount) -> list[Decoded]:
        if len(pieces) > 1 and self._strikes("memory"):
            raise torch.OutOfMemoryError(f"{len(pieces)} rows")
        if self._strikes("killed device"):
            raise SystemExit
        return super().decode(pieces, mount)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_owsm(tmp_path_factory.mktemp("owsm") / "tiny")


@pytest.fixture(scope="module", params=DEVICES)
def recogniser(folder: Path, request: pytest.FixtureRequest) -> ModelRecogniser:
    recogniser = FaultyOwsm.load(
        str(folder), device=request.param, dtype="float32", cache_dir=folder.parent / "cache"
    )
    assert isinstance(recogniser, FaultyOwsm)
    return recogniser


@pytest.fixture(scope="module")
def files(recogniser: ModelRecogniser, folder: Path) -> list[Path]:
    return write_adapters(folder.parent / f"adapters-{recogniser.device.type}", recogniser, ADAPTERS)


@pytest.fixture(scope="module")
def oracle(recogniser: ModelRecogniser, files: list[Path]) -> Oracle:
    oracle = Oracle.of(recogniser, files, [babble(1.2, seed=seed) for seed in range(3)])
    said = {(wave, each.text) for (_, wave), each in oracle.alone.items()}
    assert len(said) > len(oracle.alone) * 0.8, "a wrong version must be heard"
    return oracle


@pytest.fixture
def store(tmp_path: Path) -> AdapterStore:
    return AdapterStore(tmp_path / "store", builtin=tmp_path / "none")


@pytest.fixture
def engine(
    recogniser: FaultyOwsm, store: AdapterStore, files: list[Path], tmp_path: Path
) -> Iterator[Engine]:
    slot = max(_slot_bytes(recogniser, store, file, tmp_path) for file in files)
    settings = ServerSettings(
        bank_max_bytes=SLOTS * slot,
        bank_host_max_bytes=HELD * max(file.stat().st_size for file in files),
        bank_max_blends=IN_USE,
        batch_max_audio_s=8 * recogniser.window_samples / 16_000,
        queue_max_audio_s=10_000,
        load_timeout_s=30,
    )
    engine = engine_over(recogniser, settings, store)
    recogniser.suffer()  # nothing yet
    yield engine
    recogniser.suffer()
    engine.close(timeout_s=30)


def _slot_bytes(recogniser: ModelRecogniser, store: AdapterStore, file: Path, scratch: Path) -> int:
    version = AdapterStore(scratch / "measure", builtin=store.builtin).publish("x", file)
    return 4 * sum(k * k for k in recogniser.read_adapter(version).ks.values())


def all_is_given_back(engine: Engine) -> bool:
    """Soon: who waits for a future may wake before its callbacks have run."""
    bank = engine.domains.bank
    for _ in range(1000):
        if engine.idle and not bank.host._leases and not bank.slots._mounted and engine.waiting_s == 0:
            return True
        time.sleep(0.01)
    return False


def test_every_transcript_is_that_of_its_row_alone_with_the_version_it_names(
    engine: Engine, store: AdapterStore, files: list[Path], oracle: Oracle
) -> None:
    churn = Churn(engine, store, files, oracle)
    outcome = churn.run(clients=4, requests=75)
    assert outcome.wrong == []
    assert outcome.failures == []
    assert outcome.replies + outcome.unknown + outcome.refused == 300
    assert outcome.replies > 180
    assert len(outcome.blends) > 20
    assert len({reply.provenance.adapter_sha256 for reply, _ in outcome.blends}) > 3
    assert outcome.near_ties <= outcome.replies // 50
    assert sum(map(len, churn.history.changes.values())) > 20, "the store hardly changed"
    assert all_is_given_back(engine)
    print(f"{outcome.replies} replies, {len(outcome.blends)} of blends, {outcome.near_ties} near ties")


def test_where_only_memory_fails_every_request_is_answered(
    engine: Engine,
    recogniser: FaultyOwsm,
    store: AdapterStore,
    files: list[Path],
    oracle: Oracle,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A batch that does not fit is split until it does, and no row of it is lost."""
    recogniser.suffer(memory=3)
    with caplog.at_level(logging.CRITICAL):
        outcome = Churn(engine, store, files, oracle).run(clients=4, requests=25)
    assert outcome.wrong == []
    assert outcome.failures == []
    assert outcome.replies + outcome.unknown + outcome.refused == 100
    assert outcome.near_ties <= 1
    assert recogniser.struck["memory"] >= 5
    assert all_is_given_back(engine)


def test_the_same_with_loads_memory_clients_and_loaders_failing(
    engine: Engine,
    recogniser: FaultyOwsm,
    store: AdapterStore,
    files: list[Path],
    oracle: Oracle,
    caplog: pytest.LogCaptureFixture,
) -> None:
    clients = 4
    recogniser.suffer(killed_loader=5, read=4, half_a_write=10, memory=5)
    with caplog.at_level(logging.CRITICAL):
        outcome = Churn(engine, store, files, oracle, cancels=0.15).run(clients, requests=75)
    struck = recogniser.struck
    assert set(struck) == set(recogniser.faults), "a fault never struck"
    assert outcome.wrong == []
    assert (
        outcome.replies + outcome.unknown + outcome.refused + outcome.cancelled + len(outcome.failures) == 300
    )
    assert outcome.cancelled > 0
    told = Counter(map(type, outcome.failures))
    assert told[LoaderError] <= clients * (struck["read"] + struck["killed loader"]) // 2  # tried twice
    assert told[OutOfMemoryError] <= struck["half a write"]  # of one row: larger batches are split
    assert set(told) <= {LoaderError, OutOfMemoryError}
    print(f"{outcome.replies} replies, struck {dict(struck)}, told {dict(told)}")

    recogniser.suffer()
    for name in LASTING:  # and all is as if nothing had been
        reply = engine.submit(Request(oracle.waves[0], domain=name)).result(TIMEOUT_S)
        assert reply.provenance.adapter_sha256 == store.resolve(name).sha256
        assert oracle.check(reply, 0) in (True, False)
    assert engine.ready
    assert all_is_given_back(engine)
    assert set(NAMES) > set(LASTING)


def test_a_device_whose_thread_dies_leaves_no_request_without_an_answer(
    engine: Engine,
    recogniser: FaultyOwsm,
    store: AdapterStore,
    files: list[Path],
    oracle: Oracle,
    caplog: pytest.LogCaptureFixture,
) -> None:
    recogniser.suffer(killed_device=5)
    with caplog.at_level(logging.CRITICAL):
        outcome = Churn(engine, store, files, oracle).run(clients=4, requests=15)
    assert recogniser.struck["killed device"] == 1
    assert outcome.wrong == []
    assert outcome.replies > 0
    assert outcome.replies + outcome.unknown + outcome.refused + len(outcome.failures) == 60
    assert {type(error) for error in outcome.failures} == {DrainingError}
    assert not engine.ready
    assert all_is_given_back(engine)
