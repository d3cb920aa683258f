"""A recogniser without a network, and adapter files that are real but tiny."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from adapters_store.versions import Version
from server.bank.mount import Mount
from server.bank.packed import PackedAdapter, layout_of, pack
from server.engine.messages import Decoded, Piece, PieceDecoding, SaidToken, TextSegment, Usage
from server.engine.recogniser import CheckedAdapter
from ssvd_asr.adapter.adapter import Adapter
from ssvd_asr.adapter.read import inspect_adapter
from ssvd_asr.adapter.write import describe_adapter, save_adapter
from ssvd_asr.audio.read import SAMPLE_RATE
from ssvd_asr.basis.factors import canonical_svd
from ssvd_asr.decoding.align import TimedWord
from ssvd_asr.decoding.hypothesis import Said
from ssvd_asr.errors import AdapterError, KeywordError, WrongBaseError
from ssvd_asr.layer.linear import AdaptedLinear
from ssvd_asr.mixing.core_stack import CoreStack

BASE = "fake-owsm"
DIGEST = "sha256:" + "ab" * 32
LAYER = "encoder.linear"
WINDOW_S = 4
TIMEOUT_S = 30  # of what a test waits for


def wait_until(condition: Callable[[], object]) -> None:
    """Wait until something is so that another thread or process brings about."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline_s, f"it is not so after {TIMEOUT_S} s"
        time.sleep(0.01)


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
    longest_piece_samples = WINDOW_S * SAMPLE_RATE
    piece_context_samples = 0
    bears_silences = False
    knows_previous_text = True
    identifies_language = False
    translates = False
    voice_probe = "fake"
    device = torch.device("cpu")
    dtype = torch.float32
    compression = None

    def __init__(self) -> None:
        linear = nn.Linear(4, 6)
        self.layers = {LAYER: AdaptedLinear(linear, canonical_svd(linear.weight.detach()))}
        self.go = threading.Event()  # decoding waits for it
        self.go.set()
        self.turns: threading.Semaphore | None = None  # each batch takes one
        self.started = threading.Semaphore(0)  # released as each batch begins
        self.pieces: list[Piece] = []
        self.batches: list[list[str | None]] = []  # domains of the rows, of every batch begun
        self.read: Callable[[Version], PackedAdapter] = read_packed
        self.threads: set[str] = set()
        self.decoding = False
        self.canaries: list[bool] = []  # whether a batch was being decoded, for each
        self.loads: list[str] = []  # references of the versions loaded, in order
        self.refuse: set[str] = set()  # digests
        self.foreign: set[str] = set()  # digests of those of another base
        self.fail: BaseException | None = None
        self.max_rows: int | None = None  # more are out of memory
        self.short_windows = False
        self.hears = "<eng>"  # the language that it identifies
        self.warnings: tuple[str, ...] = ()
        self.voice = np.zeros(2, dtype=np.float32)  # of every piece that listens
        self.finds: dict[str | None, float] = {}  # nats of all words, by domain
        self.comparable = True  # whether it says them at all

    languages = ("<eng>", "<nld>")

    def check_keywords(self, keywords: Sequence[str]) -> None:
        if lacking := [each for each in keywords if "#" in each]:
            raise KeywordError(f"keyword {lacking[0]!r}: the vocabulary does not have '#'")

    def row_samples(self, samples: int) -> int:
        return samples if self.short_windows else self.window_samples

    def read_adapter(self, version: Version) -> PackedAdapter:
        self.loads.append(version.reference)
        if version.sha256 in self.foreign:
            raise WrongBaseError("it was made for another base")
        if version.sha256 in self.refuse:
            raise AdapterError("its singular values are of another planet")
        return self.read(version)

    def check_adapter(self, data: bytes) -> CheckedAdapter:
        metadata = inspect_adapter(data)
        if metadata.base_digest != self.digest:
            raise WrongBaseError(f"made for base {metadata.base_name}")

        def canary() -> None:
            self.threads.add(threading.current_thread().name)
            self.canaries.append(self.decoding)
            if hashlib.sha256(data).hexdigest() in self.refuse:
                raise AdapterError("canary: its outputs deviate")
            if self.fail is not None:
                raise self.fail

        return CheckedAdapter(pack(data, layout_of(data, metadata)), canary)

    def make_stack(self, slots: int, k: Mapping[str, int]) -> CoreStack:
        return CoreStack(self.layers, slots, k, hot_bytes=0)

    def decode(self, pieces: Sequence[Piece], mount: Mount) -> list[Decoded]:
        self.threads.add(threading.current_thread().name)
        self.batches.append([piece.lease and piece.lease.name for piece in pieces])
        self.decoding = True
        self.started.release()
        try:
            assert self.go.wait(30), "the test never let decoding go on"
            assert self.turns is None or self.turns.acquire(timeout=TIMEOUT_S), "the test gave no turn"
            for piece, slot in zip(pieces, mount.launch(), strict=True):
                check_slot(piece, mount, slot)
            if self.fail is not None:
                raise self.fail
            if self.max_rows is not None and len(pieces) > self.max_rows:
                raise torch.OutOfMemoryError(f"{len(pieces)} rows are too many")
            self.pieces += pieces
        finally:
            self.decoding = False
        return [self._say(piece) for piece in pieces]

    def _say(self, piece: Piece) -> Decoded:
        if piece.listens:
            return Decoded("", (), voice=self.voice)
        lease = piece.lease
        text = "base words" if lease is None else f"{lease.name} words of version {lease.version}"
        end_s = piece.start_s + len(piece.wave) / SAMPLE_RATE
        decoding = PieceDecoding(piece.start_s, end_s, "greedy", 0.5, self.hears)
        words = spread(text.split(), piece.start_s, end_s) if piece.timestamps else ()
        said = Said(10, self.finds.get(lease and lease.name, -5.0), 0.0) if self.comparable else None
        segment = TextSegment(piece.start_s, end_s, text, -0.5, words)
        tokens = tuple(SaidToken(f" {word}".encode(), -0.5) for word in text.split())
        return Decoded(
            text, (segment,), decoding, self.warnings, said=said,
            tokens=tokens if piece.scores_tokens else (), usage=Usage(40, 4, len(tokens) + 1),
        )  # fmt: skip


def spread(words: Sequence[str], start_s: float, end_s: float) -> tuple[TimedWord, ...]:
    """Words that share a stretch of time evenly."""
    step_s = (end_s - start_s) / len(words)
    return tuple(
        TimedWord(word, (index,), start_s + index * step_s, start_s + (index + 1) * step_s, 0.9)
        for index, word in enumerate(words)
    )


def write_adapter(
    path: Path, seed: int, *, wer_before: float = 0.5, wer_after: float = 0.1, loud: int = 0, k: int = 2
) -> Path:
    """A valid adapter file for FakeBase; a seed gives a basis, and `loud` numbers that are not zero."""
    generator = torch.Generator().manual_seed(seed)
    factors = {LAYER: canonical_svd(torch.randn(6, 4, generator=generator))}
    adapter = Adapter.new(factors, k=k)
    generator = torch.Generator().manual_seed(loud)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.copy_(bool(loud) * torch.randn(parameter.shape, generator=generator))
    training = {"wer_before": wer_before, "wer_after": wer_after}
    save_adapter(path, adapter, metadata=describe_adapter(adapter, FakeBase(), factors, training=training))
    return path


def read_packed(version: Version) -> PackedAdapter:
    """What a real recogniser does with a file that it has checked."""
    data = version.read_bytes()
    return pack(data, layout_of(data, inspect_adapter(version.path)))


def check_slot(piece: Piece, mount: Mount, slot: int) -> None:
    """The slot that a row reads holds the cores of the row's own version, to the bit."""
    if piece.lease is None:
        assert slot == 0
        return
    assert mount.stack is not None
    for name, core in piece.lease.packed.expand("cpu", torch.float32).items():
        assert torch.equal(mount.stack.core(name, slot), core), f"{piece.lease.name} in slot {slot}"
