"""The server's bank and engine over a model of a real shape, with random domains in a temporary store.

Needs torch, ESPnet's model classes, and the small packages that the store and audio reading import.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from adapters_store.store import AdapterStore
from adapters_store.versions import Version
from benchmarks.subject import CORE_SCALE, Subject, subject, working_dtype
from server.bank.bank import Bank
from server.domains import Domains
from server.engine.engine import Engine
from server.engine.model_recogniser import ModelRecogniser
from ssvd_asr.adapter.adapter import Adapter
from ssvd_asr.adapter.forms import DEFAULT_MAP
from ssvd_asr.adapter.write import describe_adapter, save_adapter
from ssvd_asr.audio.segment import FloatArray, Span
from ssvd_asr.basis.factors import LayerFactors

TIMEOUT_S = 600.0


@dataclass(frozen=True)
class Banked:
    """A recogniser and a store with versions of its domains."""

    subject: Subject
    recogniser: ModelRecogniser
    store: AdapterStore
    files: list[Path]  # not published
    versions: list[Version]

    @property
    def slot_nbytes(self) -> int:
        """Device memory of one domain, in bytes."""
        return sum(k * k for k in self.subject.k.values()) * self.recogniser.dtype.itemsize

    @property
    def host_nbytes(self) -> int:
        """Host memory of one domain, in bytes."""
        return self.recogniser.read_adapter(self.versions[0]).nbytes

    @contextmanager
    def bank(self, *, slots: int, held: int) -> Iterator[Bank]:
        """Open a bank with room for `slots` domains on the device and `held` in host memory."""
        bank = Bank(
            self.recogniser,
            max_bytes=(slots + 1) * self.slot_nbytes,
            host_max_bytes=held * self.host_nbytes + self.host_nbytes // 2,
            max_blends=1,
            load_timeout_s=TIMEOUT_S,
        )
        try:
            yield bank
        finally:
            bank.close()

    @contextmanager
    def engine(self, bank: Bank | None = None) -> Iterator[Engine]:
        """Open an engine, by default with a bank for all domains. It does not cut at silences."""
        room = len(self.versions) + 1
        with nullcontext(bank) if bank is not None else self.bank(slots=room, held=room) as own:
            engine = Engine(
                self.recogniser, Domains(self.store, own), queue_max_audio_s=1e6, batch_max_audio_s=240.0,
                request_timeout_s=TIMEOUT_S, cut=_whole,
            )  # fmt: skip
            try:
                yield engine
            finally:
                engine.close(TIMEOUT_S)

    def forget(self) -> None:
        """Forget the files that were read, so that base and basis are checked again at the next reading."""
        self.recogniser._known.clear()
        self.recogniser._layouts.clear()

    def load(self, bank: Bank, version: Version) -> None:
        """Lease a version and wait until the bank's thread has staged it, as far as there is room."""
        with bank.lease(version):
            bank._loader.submit(lambda: None, ahead=True).result(TIMEOUT_S)

    def touch(self, bank: Bank, version: Version) -> None:
        """Lease a version and mount it in a slot, as a request and its batch do, up to the launch."""
        with bank.lease(version) as lease, bank.mounted([lease]) as mount:
            mount.launch()
            if self.recogniser.device.type == "cuda":
                torch.cuda.synchronize()


@contextmanager
def banked(
    shape: str, *, p: float, device: torch.device, domains: int = 3, window_s: float | None = None
) -> Iterator[Banked]:
    """Build a shape, and publish `domains` random domains of k = int(p min(m, n)) in a temporary store."""
    made = subject(shape, p=p, device=device, dtype=working_dtype(device), window_s=window_s)
    factors = {
        name: LayerFactors(
            layer.ut[: layer.rank].mT.double().cpu(),
            torch.linspace(2.0, 1.0, made.k[name], dtype=torch.float64),
            layer.vh[: layer.rank].double().cpu(),
            made.k[name],
        )
        for name, layer in made.adapted.layers.items()
    }
    recogniser = ModelRecogniser(made.base, factors, made.adapted)
    with TemporaryDirectory() as folder:
        store = AdapterStore(Path(folder, "store"), builtin=Path(folder, "none"))
        files = [_write(Path(folder, f"{seed}"), made, factors, seed) for seed in range(domains + 1)]
        versions = [store.publish(f"domain{seed}", file) for seed, file in enumerate(files[:-1])]
        yield Banked(made, recogniser, store, files[-1:], versions)


def _whole(wave: FloatArray, *_: object, **__: object) -> list[Span]:
    """Return all of a wave as one span. The usual cut would drop noise."""
    return [Span(0, len(wave))]


def _write(path: Path, made: Subject, factors: dict[str, LayerFactors], seed: int) -> Path:
    adapter = Adapter(DEFAULT_MAP, {name: each.s for name, each in factors.items()})
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.copy_(CORE_SCALE * torch.randn(parameter.shape, generator=generator))
    save_adapter(path, adapter, metadata=describe_adapter(adapter, made.base, factors))
    return path
