"""A recogniser without a network, and adapter files that are real but tiny."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from adapters_store.versions import Version
from server.messages import Piece, TextSegment
from server.recogniser import Decoded
from ssvd_asr.adapter import Adapter
from ssvd_asr.adapter_file import describe_adapter, save_adapter
from ssvd_asr.audio import SAMPLE_RATE
from ssvd_asr.errors import AdapterError
from ssvd_asr.factors import canonical_svd

BASE = "fake-owsm"
DIGEST = "sha256:" + "ab" * 32
LAYER = "encoder.linear"
WINDOW_S = 4


class FakeBase:
    """What an adapter file is made against."""

    name = BASE
    digest = DIGEST
    network = nn.Module()


class FakeRecogniser:
    """Says which domain and version it was asked for. Records what it did; can be made to wait or refuse."""

    name = BASE
    digest = DIGEST
    window_samples = WINDOW_S * SAMPLE_RATE

    def __init__(self) -> None:
        self.go = threading.Event()  # decoding waits for it
        self.go.set()
        self.started = threading.Semaphore(0)  # released as each piece begins
        self.pieces: list[Piece] = []
        self.threads: set[str] = set()
        self.loads: list[str] = []  # references of the versions loaded, in order
        self.refuse: set[str] = set()  # digests
        self.fail: Exception | None = None

    def has_language(self, symbol: str) -> bool:
        return symbol in ("<eng>", "<nld>")

    def load_cores(self, version: Version) -> Mapping[str, Tensor]:
        self.loads.append(version.reference)
        version.read_bytes()
        if version.sha256 in self.refuse:
            raise AdapterError("its singular values are of another planet")
        return {LAYER: torch.full((2, 2), float(version.version))}

    def decode(self, pieces: Sequence[Piece]) -> list[Decoded]:
        self.threads.add(threading.current_thread().name)
        self.started.release()
        assert self.go.wait(30), "the test never let decoding go on"
        if self.fail is not None:
            raise self.fail
        self.pieces += pieces
        return [self._say(piece) for piece in pieces]

    def _say(self, piece: Piece) -> Decoded:
        lease = piece.cores
        text = "base words" if lease is None else f"{lease.name} words of version {lease.version}"
        end_s = piece.start_s + len(piece.wave) / SAMPLE_RATE
        return Decoded(text, (TextSegment(piece.start_s, end_s, text, -0.5),))


def write_adapter(path: Path, seed: int, *, wer_before: float = 0.5, wer_after: float = 0.1) -> Path:
    """A valid adapter file for FakeBase; each seed gives other bytes."""
    generator = torch.Generator().manual_seed(seed)
    factors = {LAYER: canonical_svd(torch.randn(6, 4, generator=generator))}
    adapter = Adapter.new(factors, k=2)
    training = {"wer_before": wer_before, "wer_after": wer_after}
    save_adapter(path, adapter, metadata=describe_adapter(adapter, FakeBase(), factors, training=training))
    return path
