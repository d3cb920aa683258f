"""A batch that fails is run in halves: only the row that cannot be decoded fails."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import pytest
import torch

from adapters_store.store import AdapterStore
from server.bank.bank import Bank
from server.bank.mount import Mount
from server.engine.batches import Batches
from server.engine.messages import Decoded, Piece
from server.errors import OutOfMemoryError
from tests.server.fakes import WINDOW_S, FakeRecogniser
from tests.speechlike import babble

WAVE = babble(1.0)


class Poisoned(FakeRecogniser):
    """Fails whenever a certain row is in the batch."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error
        self.poison: Piece | None = None

    def decode(self, pieces: Sequence[Piece], mount: Mount) -> list[Decoded]:
        decoded = super().decode(pieces, mount)
        if self.poison in pieces:
            raise self.error
        return decoded


@pytest.fixture
def banks() -> Iterator[list[Bank]]:
    made: list[Bank] = []
    yield made
    for bank in made:
        bank.close()


def batches(recogniser: FakeRecogniser, banks: list[Bank]) -> Batches:
    banks.append(Bank(recogniser, max_bytes=10**6, host_max_bytes=10**6, max_blends=4, load_timeout_s=30))
    return Batches(recogniser, banks[-1], max_audio_s=16 * WINDOW_S)


def pieces(count: int) -> list[Piece]:
    return [Piece(WAVE, float(index), None, "<eng>", False, None) for index in range(count)]


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("17 GiB"), ZeroDivisionError("a bug")])
def test_only_the_row_that_cannot_be_decoded_fails(
    error: Exception, banks: list[Bank], caplog: pytest.LogCaptureFixture
) -> None:
    recogniser = Poisoned(error)
    rows = pieces(7)
    recogniser.poison = rows[4]
    with caplog.at_level(logging.WARNING):
        results = batches(recogniser, banks).run(rows)
    failed = [index for index, result in enumerate(results) if isinstance(result, Exception)]
    assert failed == [4]
    assert [result.segments[0].start_s for result in results if isinstance(result, Decoded)] == [
        0, 1, 2, 3, 5, 6,
    ]  # fmt: skip
    assert type(results[4]) is (
        OutOfMemoryError if isinstance(error, torch.OutOfMemoryError) else type(error)
    )
    assert "Poisoned" in caplog.text or "raise self.error" in caplog.text  # the traceback


def test_out_of_memory_splits_down_to_what_fits_and_makes_the_next_batches_smaller(banks: list[Bank]) -> None:
    recogniser = FakeRecogniser()
    recogniser.max_rows = 3
    device = batches(recogniser, banks)
    assert all(isinstance(result, Decoded) for result in device.run(pieces(16)))
    assert [len(batch) for batch in recogniser.batches] == [16, 8, 4, 2, 2, 4, 2, 2, 8, 4, 2, 2, 4, 2, 2]
    assert device.budget_s < 3 * WINDOW_S
    recogniser.max_rows = None
    for _ in range(40):
        device.run(pieces(int(device.budget_s / WINDOW_S)))
    assert device.budget_s == device.max_audio_s  # and larger again when it goes well


def test_the_first_batch_s_speed_takes_the_place_of_the_guess(
    banks: list[Bank], monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([0.0, 2.0, 10.0, 14.0])
    monkeypatch.setattr("server.engine.batches.time.perf_counter", lambda: next(times))
    device = batches(FakeRecogniser(), banks)
    assert not device.measured
    device.run(pieces(3))
    assert device.measured
    assert device.speed == 3 * WINDOW_S / 2
    device.run(pieces(2))
    assert device.speed == pytest.approx(0.8 * 3 * WINDOW_S / 2 + 0.2 * 2 * WINDOW_S / 4)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
        torch.AcceleratorError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_memory_that_is_lacking_is_known_by_its_words(error: Exception, banks: list[Bank]) -> None:
    recogniser = FakeRecogniser()
    recogniser.fail = error
    (result,) = batches(recogniser, banks).run(pieces(1))
    assert isinstance(result, OutOfMemoryError)
    assert "one row of 4 s" in str(result)
    assert "SSVD_BANK_MAX_BYTES" in str(result)


def test_a_device_that_has_failed_is_not_tried_again(
    banks: list[Bank], caplog: pytest.LogCaptureFixture
) -> None:
    recogniser = FakeRecogniser()
    recogniser.fail = torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
    with pytest.raises(torch.AcceleratorError, match="illegal memory access"):
        batches(recogniser, banks).run(pieces(4))
    assert len(recogniser.batches) == 1
    assert "the device has failed" in caplog.text


def test_domains_that_do_not_fit_the_slots_together_are_run_in_parts(
    banks: list[Bank], store: AdapterStore
) -> None:
    recogniser = FakeRecogniser()
    banks.append(Bank(recogniser, max_bytes=3 * 16, host_max_bytes=10**6, max_blends=4, load_timeout_s=30))
    device = Batches(recogniser, banks[-1], max_audio_s=100)
    leases = [banks[-1].lease(store.resolve(name)) for name in ("child@1", "child@2", "scottish")]
    results = device.run([Piece(WAVE, 0.0, lease, "<eng>", False, None) for lease in leases])
    assert [result.text for result in results if isinstance(result, Decoded)] == [
        "child words of version 1",
        "child words of version 2",
        "scottish words of version 1",
    ]
    assert device.max_domains == 2
