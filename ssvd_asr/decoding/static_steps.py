"""What the recorded steps of one decoder read and write, shared by all batches, and the recordings."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import torch

from ssvd_asr.decoding.static_cache import StaticCache
from ssvd_asr.decoding.step_graph import StepGraphs
from ssvd_asr.mixing.static_cores import StaticCores

if TYPE_CHECKING:
    from espnet2.asr.decoder.transformer_decoder import TransformerDecoder


class StaticSteps:
    """What recorded steps of one decoder read and write, and the recordings."""

    def __init__(self, decoder: TransformerDecoder, device: torch.device) -> None:
        attention = decoder.decoders[0].self_attn
        self.lock = threading.Lock()  # one batch at a time
        self.cache = StaticCache(len(decoder.decoders), attention.h, attention.d_k)
        self.cores = StaticCores()
        self.graphs = StepGraphs(device)
        self._generation = (0, 0)
        self._inputs: dict[int, Inputs] = {}

    def inputs(self, rows: int, vocabulary: int, device: torch.device) -> Inputs:
        """Those for so many rows."""
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
        """Let the next batch in."""
        self.lock.release()


class Inputs:
    """What changes from step to step, where a recorded step finds it, and where it leaves its scores."""

    def __init__(self, rows: int, vocabulary: int, device: torch.device) -> None:
        self.tokens = torch.zeros(rows, 1, dtype=torch.long, device=device)
        self.place = torch.zeros(1, dtype=torch.long, device=device)  # of the tokens, padding counted
        self.padding = torch.zeros(rows, 1, dtype=torch.long, device=device)  # positions before the prompt
        self.scores = torch.zeros(rows, vocabulary, device=device)  # log-probabilities, float32
