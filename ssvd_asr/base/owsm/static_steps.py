"""Recorded steps of one decoder and the memory that they read and write, shared by all batches."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import torch

from ssvd_asr.base.owsm.static_cache import StaticCache
from ssvd_asr.base.step_graph import StepGraphs
from ssvd_asr.mixing.static_cores import StaticCores

if TYPE_CHECKING:
    from espnet2.asr.decoder.transformer_decoder import TransformerDecoder


class StaticSteps:
    """Cache, cores, inputs and recordings of one decoder's steps. `lock` admits one batch at a time."""

    def __init__(self, decoder: TransformerDecoder, device: torch.device) -> None:
        attention = decoder.decoders[0].self_attn
        self.lock = threading.Lock()
        self.cache = StaticCache(len(decoder.decoders), attention.h, attention.d_k)
        self.cores = StaticCores()
        self.graphs = StepGraphs(device)
        self._generation = (0, 0)
        self._inputs: dict[int, Inputs] = {}

    def inputs(self, rows: int, vocabulary: int, device: torch.device) -> Inputs:
        """Return the inputs of a step of `rows` rows; the same object for the same number."""
        found = self._inputs.get(rows)
        if found is None:
            found = self._inputs[rows] = Inputs(rows, vocabulary, device)
        return found

    def settle(self) -> None:
        """Forget recordings whose memory has moved."""
        generation = (self.cache.generation, self.cores.generation)
        if generation != self._generation:
            self.graphs.clear()
            self._generation = generation

    def release(self) -> None:
        """Release the lock for the next batch."""
        self.lock.release()


class Inputs:
    """Tensors that a recorded step reads its changing inputs from and writes its scores to."""

    def __init__(self, rows: int, vocabulary: int, device: torch.device) -> None:
        self.tokens = torch.zeros(rows, 1, dtype=torch.long, device=device)
        self.place = torch.zeros(1, dtype=torch.long, device=device)  # of the tokens, padding counted
        self.padding = torch.zeros(rows, 1, dtype=torch.long, device=device)  # positions before the prompt
        self.scores = torch.zeros(rows, vocabulary, device=device)  # log-probabilities, float32
