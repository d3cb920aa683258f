"""Traffic on a real engine while its store changes under it, and what every transcript must be."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import numpy as np
import numpy.typing as npt
import torch

from adapters_store.store import AdapterStore
from server.engine.engine import Engine
from server.engine.messages import Reply, Request
from server.engine.recogniser import ModelRecogniser
from ssvd_asr.adapter.adapter import Adapter
from ssvd_asr.adapter.forms import MAPS, CoreForm
from ssvd_asr.adapter.read import load_adapter
from ssvd_asr.adapter.write import describe_adapter, save_adapter
from ssvd_asr.errors import StoreError, UnknownDomainError
from ssvd_asr.transcription import Transcript, transcribe

NEAR_TIE = 1e-4  # of two scores: rounding on another path may then choose the other token (promise 2)
NAMES = ("child", "ward", "court", "gone")
LASTING = NAMES[:-1]  # the last one is removed altogether now and then
TIMEOUT_S = 120
FORMS = (
    *map(CoreForm, MAPS),
    CoreForm("svft-top-k", off_diagonals=2),
    CoreForm("lora-xs"),
    CoreForm("first-order", outer=True),
)


def write_adapters(folder: Path, recogniser: ModelRecogniser, count: int) -> list[Path]:
    """Random ones of several sizes and forms, each loud enough to change what is said."""
    folder.mkdir()
    paths = []
    for seed in range(count):
        adapter = Adapter.new(
            recogniser._factors,
            p=(0.2, 0.5, 0.8)[seed // 3 % 3],
            rotation_map=FORMS[seed % len(FORMS)],
            directions="tail" if seed % 5 == 4 else "head",
        )
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in adapter.parameters():
                parameter.copy_(0.25 * torch.randn(parameter.shape, generator=generator))
        metadata = describe_adapter(adapter, recogniser._base, recogniser._factors)
        save_adapter(folder / f"{seed}", adapter, metadata=metadata)
        paths.append(folder / f"{seed}")
    return paths


@dataclass(frozen=True)
class Oracle:
    """What each clip says alone, by digest of the adapter (None: the base)."""

    alone: Mapping[tuple[str | None, int], Transcript]
    waves: Sequence[npt.NDArray[np.float32]]

    @classmethod
    def of(
        cls, recogniser: ModelRecogniser, files: Sequence[Path], waves: Sequence[npt.NDArray[np.float32]]
    ) -> Oracle:
        """By the library alone: no bank, no batch, no thread."""
        alone: dict[tuple[str | None, int], Transcript] = {}
        for file in (None, *files):
            loaded = None if file is None else load_adapter(file, recogniser._base, recogniser._factors)
            cores = None if loaded is None else loaded.adapter.to(recogniser.device).cores()
            sha256 = None if loaded is None else loaded.sha256
            for index, wave in enumerate(waves):
                (alone[sha256, index],) = transcribe(
                    recogniser._base, [wave], adapted=recogniser._adapted, cores=cores
                )
        return cls(alone, waves)

    def check(self, reply: Reply, wave: int) -> bool:
        """Whether the words are the same; else they must have been a near tie."""
        expected = self.alone[reply.provenance.adapter_sha256, wave]
        if reply.text == " ".join(expected.text.split()):
            return True
        margin = expected.hypothesis.margin
        assert margin < NEAR_TIE, (
            f"{reply.provenance}: {reply.text!r}, alone {expected.text!r} ({margin:.1e})"
        )
        return False


@dataclass
class History:
    """Which digests answered for a name, and between which times they came and went."""

    changes: dict[str, list[tuple[float, float, str | None]]] = field(
        default_factory=lambda: {name: [] for name in NAMES}
    )
    lock: threading.Lock = field(default_factory=threading.Lock)

    def change(self, store: AdapterStore, name: str, act: Callable[[], object]) -> None:
        """Do something to a name and note what is active afterwards."""
        begun_s = time.monotonic()
        try:
            act()
        except (StoreError, UnknownDomainError):  # nothing to roll back, nothing to remove
            return
        try:
            active: str | None = store.resolve(name).sha256
        except UnknownDomainError:
            active = None
        with self.lock:
            self.changes[name].append((begun_s, time.monotonic(), active))

    def possible(self, name: str, begun_s: float, ended_s: float) -> set[str | None]:
        """What may have answered for the name at any moment between the two times."""
        with self.lock:
            changes = list(self.changes[name])
        settled = [active for _, done_s, active in changes if done_s <= begun_s]
        during = {active for start_s, done_s, active in changes if done_s > begun_s and start_s <= ended_s}
        return during | set(settled[-1:] or [None])


@dataclass
class Outcome:
    """What became of the requests."""

    replies: int = 0
    near_ties: int = 0
    cancelled: int = 0
    unknown: int = 0
    failures: list[Exception] = field(default_factory=list)
    wrong: list[BaseException] = field(default_factory=list)


class Churn:
    """Clients and a publisher on one engine. One publisher, so that the history is in order."""

    def __init__(
        self, engine: Engine, store: AdapterStore, files: Sequence[Path], oracle: Oracle, cancels: float = 0.0
    ) -> None:
        self.engine, self.store, self.files, self.oracle = engine, store, files, oracle
        self.cancels = cancels  # share of the requests whose client hangs up
        self.outcome, self.history = Outcome(), History()
        self._lock = threading.Lock()
        self._over = threading.Event()
        for index, name in enumerate(NAMES):
            self.history.change(store, name, lambda n=name, i=index: store.publish(n, files[i]))

    def run(self, clients: int, requests: int) -> Outcome:
        """So many requests of each client, with the store changing until the last is answered."""
        publisher = threading.Thread(target=self._publish)
        threads = [threading.Thread(target=self._ask, args=(seed, requests)) for seed in range(clients)]
        for thread in (publisher, *threads):
            thread.start()
        for thread in threads:
            thread.join()
        self._over.set()
        publisher.join()
        return self.outcome

    def _publish(self) -> None:
        random = Random(0)
        while not self._over.wait(0.01):
            name = random.choice(NAMES)
            file = random.choice(self.files)
            act: Callable[[], object] = random.choice(
                [
                    lambda: self.store.publish(name, file),  # noqa: B023  called before the next turn
                    lambda: self.store.publish(name, file),  # noqa: B023
                    lambda: self.store.rollback(name),  # noqa: B023
                    lambda: self._remove(name, random),  # noqa: B023
                ]
            )
            self.history.change(self.store, name, act)

    def _remove(self, name: str, random: Random) -> None:
        versions = self.store.versions(name)
        if len(versions) > 1 or name not in LASTING:
            self.store.remove(name, random.choice(versions).version)

    def _ask(self, seed: int, requests: int) -> None:
        random = Random(seed)
        pending: list[Callable[[], None]] = []
        for _ in range(requests):
            pending.append(self._send(random))
            if len(pending) >= 6:  # of one client in flight
                pending.pop(random.randrange(len(pending)))()
        for wait in pending:
            wait()

    def _send(self, random: Random) -> Callable[[], None]:
        name, wave = random.choice((None, *NAMES)), random.randrange(len(self.oracle.waves))
        begun_s = time.monotonic()
        try:
            future = self.engine.submit(Request(self.oracle.waves[wave], domain=name))
        except Exception as error:
            self._failed(error, name)
            return lambda: None
        ended_s = time.monotonic()  # the name has been looked up by now
        if random.random() < self.cancels:
            future.cancel()

        def wait() -> None:
            try:
                reply = future.result(TIMEOUT_S)
            except CancelledError:
                with self._lock:
                    self.outcome.cancelled += 1
            except Exception as error:
                self._failed(error, name)
            else:
                self._check(reply, name, wave, (begun_s, ended_s))

        return wait

    def _check(self, reply: Reply, name: str | None, wave: int, asked: tuple[float, float]) -> None:
        try:
            same = self.oracle.check(reply, wave)
            assert reply.provenance.domain == name
            if name is not None:
                assert reply.provenance.adapter_sha256 in self.history.possible(name, *asked)
        except BaseException as error:
            with self._lock:
                self.outcome.wrong.append(error)
            return
        with self._lock:
            self.outcome.replies += 1
            self.outcome.near_ties += not same

    def _failed(self, error: Exception, name: str | None) -> None:
        with self._lock:
            if isinstance(error, UnknownDomainError) and name is not None and name not in LASTING:
                self.outcome.unknown += 1
            else:
                self.outcome.failures.append(error)
