"""Batches on the device: bounds their size, and runs a failed batch again in halves."""

from __future__ import annotations

import logging
import re
import time
import traceback
from collections.abc import Sequence

import torch

from server.bank.bank import Bank
from server.engine.messages import Decoded, Piece
from server.engine.recogniser import Recogniser
from server.errors import OutOfMemoryError
from server.tally import (
    BATCH_DOMAINS,
    BATCHES,
    DECODED_SECONDS,
    DEVICE_SECONDS,
    FAILED_BATCHES,
    PADDED_SECONDS,
    PIECES,
)
from ssvd_asr.audio.read import SAMPLE_RATE

logger = logging.getLogger(__name__)

FIRST_GUESS_SPEED = 5.0  # audio-seconds decoded a second, until the first measurement
_NO_MEMORY = re.compile("allocate memory|out of memory|ALLOC_FAILED|ALLOCATION_FAILED")
REGAIN = 1.1  # growth of a reduced budget with each batch that succeeds


class Batches:
    """Runs batches and measures their speed.

    Only the device thread calls it. Other threads may read `speed` and `measured`.
    """

    def __init__(self, recogniser: Recogniser, bank: Bank, *, max_audio_s: float) -> None:
        self.max_audio_s = max_audio_s
        self.budget_s = max_audio_s  # reduced for a while after the device ran out of memory
        self.speed = FIRST_GUESS_SPEED  # padded audio-seconds decoded a second
        self.measured = False  # while False, `speed` is a guess
        self._recogniser = recogniser
        self._bank = bank
        self._tally = bank.tally

    @property
    def max_domains(self) -> int:
        """How many domains one batch can have, not counting the base."""
        return self._bank.slots.capacity()

    def run(self, pieces: Sequence[Piece]) -> list[Decoded | Exception]:
        """Decode pieces of any domains as one batch. Return a result or an exception for each, in order.

        A batch that fails, from lack of memory or another error, is run again in halves. In the end only the
        rows that cannot be decoded fail.

        Raises AcceleratorError if the device itself has failed.
        """
        if not pieces:
            return []
        started = time.perf_counter()
        try:
            with self._bank.mounted([piece.lease for piece in pieces]) as mount:
                decoded = self._recogniser.decode(pieces, mount)
        except Exception as error:
            trace = traceback.format_exc()
            failure = error.with_traceback(None)  # its frames keep the batch's memory alive
        else:
            wall_s = time.perf_counter() - started
            self._count(pieces, decoded, wall_s)
            self._measure(pieces, wall_s)
            return list(decoded)
        return self._after(failure, trace, pieces)

    def _after(self, failure: Exception, trace: str, pieces: Sequence[Piece]) -> list[Decoded | Exception]:
        memory = is_out_of_memory(failure)
        if memory:
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            self.budget_s = max(self._audio_s(pieces) / 2, self._audio_s(pieces[:1]))
        elif isinstance(failure, torch.AcceleratorError):
            logger.critical("the device has failed\n%s", trace)
            raise failure  # the device context is lost; only a new process gets another
        if len(pieces) > 1:
            self._tally.add(FAILED_BATCHES)
            logger.warning("a batch of %d failed and is run in halves: %r", len(pieces), failure)
            half = len(pieces) // 2
            return [*self.run(pieces[:half]), *self.run(pieces[half:])]
        logger.error("decoding failed\n%s", trace)
        if not memory:
            return [failure]
        return [
            OutOfMemoryError(
                f"the device's memory does not hold one row of {self._audio_s(pieces):g} s beside the "
                f"domains (SSVD_BANK_MAX_BYTES) and what else runs there: {failure}"
            )
        ]

    def _count(self, pieces: Sequence[Piece], decoded: Sequence[Decoded], wall_s: float) -> None:
        tally = self._tally
        tally.add(BATCHES, len(pieces))
        tally.add(BATCH_DOMAINS, len({piece.lease.sha256 for piece in pieces if piece.lease is not None}))
        tally.add(DEVICE_SECONDS, wall_s)
        tally.add(DECODED_SECONDS, sum(len(piece.wave) for piece in pieces) / SAMPLE_RATE)
        tally.add(PADDED_SECONDS, self._audio_s(pieces))
        for each in decoded:
            if each.decoding is not None:
                tally.add(PIECES, 1, each.decoding.search)

    def _measure(self, pieces: Sequence[Piece], wall_s: float) -> None:
        if any(piece.listens for piece in pieces):
            return  # cheaper than its seconds say
        audio_s = self._audio_s(pieces)
        speed = audio_s / max(wall_s, 1e-6)
        self.speed = 0.8 * self.speed + 0.2 * speed if self.measured else speed
        self.measured = True
        if self.budget_s < self.max_audio_s and audio_s * 2 > self.budget_s:
            self.budget_s = min(self.budget_s * REGAIN, self.max_audio_s)

    def _audio_s(self, pieces: Sequence[Piece]) -> float:
        """Return the seconds of audio after padding: every row is as long as the longest."""
        longest = max((self._recogniser.row_samples(len(piece.wave)) for piece in pieces), default=0)
        return len(pieces) * longest / SAMPLE_RATE


def is_out_of_memory(error: Exception) -> bool:
    """Return whether memory ran out. torch has no error class for the CPU's or CUDA libraries' memory."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and _NO_MEMORY.search(str(error)) is not None
    )
