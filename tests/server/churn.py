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

from adapters_store.blends import is_blend, parse_blend
from adapters_store.store import AdapterStore
from server.auto.wish import AutoWish
from server.engine.engine import Engine
from server.engine.messages import Provenance, Reply, Request
from server.engine.model_recogniser import ModelRecogniser
from server.errors import BankFullError
from ssvd_asr.adapter.adapter import Adapter
from ssvd_asr.adapter.blend import blend_adapters
from ssvd_asr.adapter.forms import MAPS, CoreForm
from ssvd_asr.adapter.read import load_adapter
from ssvd_asr.adapter.write import describe_adapter, save_adapter
from ssvd_asr.errors import BlendError, UnknownDomainError
from ssvd_asr.transcription import Transcript, transcribe
from tests.server.history import History, change_at_random

NEAR_TIE = 1e-4  # of two scores: rounding on another path may then choose the other token (promise 2)
NAMES = ("child", "ward", "court", "gone")
LASTING = NAMES[:-1]  # the last one is removed altogether now and then
TIMEOUT_S = 120
# Asked for among the names. Their parts may be of other forms, or the same adapter, at the moment: a refusal.
BLENDS = (
    "child*0.5", "court*1.5", "child*0.8+ward*0.5", "ward*0.5+child*0.8", "child@1*0.7+ward@1*0.6+gone*0.2",
    "child@1*0.7+ward@1*0.6",
)  # fmt: skip
TWINS = 4  # adapters of one form, which can be blended
AUTO = "auto"  # the words are those of whatever the reply names
FORMS = (
    *map(CoreForm, MAPS),
    CoreForm("svft-top-k", off_diagonals=2),
    CoreForm("lora-xs"),
    CoreForm("first-order", outer=True),
)


def write_adapters(folder: Path, recogniser: ModelRecogniser, count: int) -> list[Path]:
    """Random ones, TWINS of one form and `count` of several, each loud enough to change what is said."""
    folder.mkdir()
    paths = []
    for seed in range(-TWINS, count):
        kind = max(seed, 0)
        adapter = Adapter.new(
            recogniser._factors,
            p=(0.2, 0.5, 0.8)[kind // 3 % 3],
            rotation_map=FORMS[kind % len(FORMS)],
            directions="tail" if kind % 5 == 4 else "head",
        )
        generator = torch.Generator().manual_seed(seed + 100)
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
    files: Mapping[str, Path]  # by digest
    recogniser: ModelRecogniser
    blends: dict[tuple[str, int], Transcript] = field(default_factory=dict)

    @classmethod
    def of(
        cls, recogniser: ModelRecogniser, files: Sequence[Path], waves: Sequence[npt.NDArray[np.float32]]
    ) -> Oracle:
        """By the library alone: no bank, no batch, no thread."""
        alone: dict[tuple[str | None, int], Transcript] = {}
        by_digest: dict[str, Path] = {}
        for file in (None, *files):
            loaded = None if file is None else load_adapter(file, recogniser._base, recogniser._factors)
            cores = None if loaded is None else loaded.adapter.to(recogniser.device).cores()
            sha256 = None if loaded is None else loaded.sha256
            if file is not None and sha256 is not None:
                by_digest[sha256] = file
            for index, wave in enumerate(waves):
                (alone[sha256, index],) = transcribe(
                    recogniser._base, [wave], adapted=recogniser._adapted, cores=cores
                )
        return cls(alone, waves, by_digest, recogniser)

    def check(self, reply: Reply, wave: int) -> bool:
        """Whether the words are the same; else they must have been a near tie."""
        expected = self._alone(reply.provenance, wave)
        if reply.text.split() == expected.text.split():
            return True
        margin = expected.hypothesis.margin
        assert margin < NEAR_TIE, (
            f"{reply.provenance}: {reply.text!r}, alone {expected.text!r} ({margin:.1e})"
        )
        return False

    def _alone(self, made_by: Provenance, wave: int) -> Transcript:
        """A blend is made of its parts' files by the library. No engine may be decoding meanwhile."""
        sha256 = made_by.adapter_sha256
        if not made_by.parts or sha256 is None:
            return self.alone[sha256, wave]
        if (sha256, wave) not in self.blends:
            parts = sorted(made_by.parts, key=lambda part: part.adapter_sha256)
            blended = blend_adapters(
                [load_adapter(self.files[part.adapter_sha256]).adapter for part in parts],
                [part.weight for part in parts],
                [part.domain for part in parts],
                torch.float16,
            )
            (self.blends[sha256, wave],) = transcribe(
                self.recogniser._base,
                [self.waves[wave]],
                adapted=self.recogniser._adapted,
                cores=blended.to(self.recogniser.device).cores(),
            )
        return self.blends[sha256, wave]


@dataclass
class Outcome:
    """What became of the requests."""

    replies: int = 0
    near_ties: int = 0
    cancelled: int = 0
    unknown: int = 0
    refused: int = 0  # blends that could not be, or were too many
    blends: list[tuple[Reply, int]] = field(default_factory=list)  # with the clip
    failures: list[Exception] = field(default_factory=list)
    wrong: list[BaseException] = field(default_factory=list)


class Churn:
    """Clients and a publisher on one engine. One publisher, so that the history is in order."""

    def __init__(
        self, engine: Engine, store: AdapterStore, files: Sequence[Path], oracle: Oracle, cancels: float = 0.0
    ) -> None:
        self.engine, self.store, self.files, self.oracle = engine, store, files, oracle
        self.cancels = cancels  # share of the requests whose client hangs up
        self.outcome, self.history = Outcome(), History(NAMES)
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
        self.engine.domains.bank.slots.wait_unmounted(TIMEOUT_S)
        for reply, wave in self.outcome.blends:
            self._compare(reply, wave)
        return self.outcome

    def _publish(self) -> None:
        random = Random(0)
        while not self._over.wait(0.01):
            change_at_random(self.history, self.store, NAMES, LASTING, self.files, random)

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
        asked = random.choice((None, AUTO, AUTO, *NAMES, *NAMES, *BLENDS))
        wave = random.randrange(len(self.oracle.waves))
        name = None if asked == AUTO else asked
        auto = AutoWish() if asked == AUTO else None
        begun_s = time.monotonic()
        try:
            future = self.engine.submit(Request(self.oracle.waves[wave], domain=name, auto=auto))
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
                until_s = time.monotonic() if auto else ended_s  # candidates are looked up while it runs
                self._check(reply, reply.provenance.domain if auto else name, wave, (begun_s, until_s))

        return wait

    def _check(self, reply: Reply, name: str | None, wave: int, asked: tuple[float, float]) -> None:
        made_by = reply.provenance
        try:
            if made_by.parts:
                for part, (reference, weight) in zip(made_by.parts, parse_blend(name or ""), strict=True):
                    assert (part.domain, part.weight) == (reference.name, weight)
                    assert part.adapter_version == (reference.version or part.adapter_version)
                    if not reference.pinned:
                        assert part.adapter_sha256 in self.history.possible(part.domain, *asked)
            else:
                assert made_by.domain == name
                if name is not None:
                    assert made_by.adapter_sha256 in self.history.possible(name, *asked)
        except BaseException as error:
            with self._lock:
                self.outcome.wrong.append(error)
            return
        if made_by.parts:  # compared when the engine is at rest
            with self._lock:
                self.outcome.blends.append((reply, wave))
        else:
            self._compare(reply, wave)

    def _compare(self, reply: Reply, wave: int) -> None:
        try:
            same = self.oracle.check(reply, wave)
        except BaseException as error:
            with self._lock:
                self.outcome.wrong.append(error)
            return
        with self._lock:
            self.outcome.replies += 1
            self.outcome.near_ties += not same

    def _failed(self, error: Exception, name: str | None) -> None:
        blend = name is not None and is_blend(name)
        with self._lock:
            if blend and isinstance(error, BlendError | UnknownDomainError | BankFullError):
                self.outcome.refused += 1
            elif isinstance(error, UnknownDomainError) and name is not None and name not in LASTING:
                self.outcome.unknown += 1
            else:
                self.outcome.failures.append(error)
