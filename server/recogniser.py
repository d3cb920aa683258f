"""What the engine needs of a model, and OWSM as one: base in memory once, adapted once, domains as cores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from adapters_store.versions import Version
from server.messages import Piece, TextSegment
from ssvd_asr.adapted_model import AdaptedModel, adapt
from ssvd_asr.adapter_file import load_adapter
from ssvd_asr.audio import SAMPLE_RATE
from ssvd_asr.base.load import load_base
from ssvd_asr.base.model import BaseModel
from ssvd_asr.errors import AdapterError, SsvdError
from ssvd_asr.factor_cache import factorize
from ssvd_asr.factors import LayerFactors
from ssvd_asr.transcription import Transcript, transcribe


@dataclass(frozen=True)
class Decoded:
    """What one piece says; times from the start of the piece's request."""

    text: str
    segments: tuple[TextSegment, ...]


class Recogniser(Protocol):
    """A model that decodes pieces of any domain. The engine's tests have one without a network."""

    name: str  # of the base
    digest: str  # of the base, "sha256:..."
    window_samples: int  # the longest piece, at 16 kHz

    def has_language(self, symbol: str) -> bool:
        """Whether the base was made for a language, "<eng>"."""
        ...

    def load_cores(self, version: Version) -> Mapping[str, Tensor]:
        """Read, check and expand a version's file. Called from any thread, one call at a time.

        Raises AdapterError for a file that is damaged, or made for another base or basis.
        """
        ...

    def decode(self, pieces: Sequence[Piece]) -> list[Decoded]:
        """Decode pieces, in their order. Only ever called from the engine's own thread."""
        ...


class OwsmRecogniser:
    """A base model with the adaptable linears in place; its weights are never changed, nor loaded again."""

    def __init__(self, base: BaseModel, factors: Mapping[str, LayerFactors], adapted: AdaptedModel) -> None:
        """Take what `load` makes; `adapted` is the network of `base` with these factors."""
        self.name = base.name
        self.digest = base.digest
        self.window_samples = base.config.window_samples
        self._base = base
        self._factors = factors
        self._adapted = adapted

    @classmethod
    def load(cls, spec: str, *, device: str, dtype: str, cache_dir: Path | None = None) -> OwsmRecogniser:
        """Load a base, factorise it (once per machine: the cache keeps the factors) and adapt it.

        Raises BaseModelError or SsvdError: see load_base and factorize.
        """
        base = load_base(spec, device=device, dtype="float32")
        factors = factorize(base, cache_dir)
        if dtype not in ("auto", "float32"):
            del base  # rounded weights have another basis, so the factors come from those in float32
            base = load_base(spec, device=device, dtype=dtype)
        return cls(base, factors, adapt(base.network, factors))

    def has_language(self, symbol: str) -> bool:
        """See Recogniser."""
        try:
            self._base.tokens.id(symbol)
        except SsvdError:
            return False
        return True

    def load_cores(self, version: Version) -> Mapping[str, Tensor]:
        """See Recogniser. Computed in float32 on the CPU, checked, and only then put on the device."""
        loaded = load_adapter(version.read_bytes(), self._base, self._factors)
        with torch.no_grad():
            cores = loaded.adapter.cores(self._base.dtype)
        for layer, core in cores.items():
            if not bool(torch.isfinite(core).all()):
                raise AdapterError(f"layer {layer!r}: its core is not finite in {self._base.dtype}")
            self._adapted.layers[layer].check_core(core)
        return {layer: core.to(self._base.device) for layer, core in cores.items()}

    def decode(self, pieces: Sequence[Piece]) -> list[Decoded]:
        """See Recogniser. Neighbours of one domain, language and kind are decoded as one batch."""
        decoded: list[Decoded] = []
        for (_, language, timestamps), group in groupby(
            pieces, key=lambda piece: (id(piece.cores), piece.language, piece.timestamps)
        ):
            alike = list(group)
            lease = alike[0].cores
            transcripts = transcribe(
                self._base,
                [piece.wave for piece in alike],
                adapted=self._adapted,
                cores=None if lease is None else lease.cores,
                language=language,
                timestamps=timestamps,
            )
            decoded += [_placed(piece, each) for piece, each in zip(alike, transcripts, strict=True)]
        return decoded


def _placed(piece: Piece, transcript: Transcript) -> Decoded:
    """Times of a window become times of the request; without predicted times the piece is one segment."""
    hypothesis = transcript.hypothesis
    avg_logprob = hypothesis.score / (len(hypothesis.token_ids) + 1)  # the score counts <eos> too
    end_s = piece.start_s + len(piece.wave) / SAMPLE_RATE
    # A model may place words in the padding after the piece.
    segments = tuple(
        TextSegment(
            min(piece.start_s + timed.start_s, end_s),
            min(piece.start_s + timed.end_s, end_s),
            timed.text,
            avg_logprob,
        )
        for timed in hypothesis.segments
    )
    if not segments and transcript.text:
        segments = (TextSegment(piece.start_s, end_s, transcript.text, avg_logprob),)
    return Decoded(transcript.text, segments)
