"""Messages between the parts of the server: frozen data without behaviour."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from server.bank.bank import Lease
from ssvd_asr.audio.segment import AUTO, CutRule

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Request:
    """One transcription requested by a client."""

    wave: FloatArray  # (samples,) mono, 16 kHz
    domain: str | None = None  # "child", "child@2" or "child@sha256:..."; None is the base
    language: str = "<eng>"  # a token of the base
    timestamps: bool = False
    previous_text: str | None = None  # what was said before the wave
    cut_rule: CutRule = AUTO  # where the wave is cut


@dataclass(frozen=True, eq=False)
class Piece:
    """A stretch of one request, at most one window long: an entry of the queue and a row of a batch."""

    wave: FloatArray  # (samples,) at most the model's window
    start_s: float  # from the start of the request's audio
    lease: Lease | None  # None is the base
    language: str
    timestamps: bool
    previous_text: str | None
    # Seconds of the wave, where it was cut within speech. Words with their middle outside are a neighbour's.
    own_from_s: float | None = None
    own_to_s: float | None = None

    @property
    def overlaps(self) -> bool:
        """Whether a neighbour hears some of the same speech, so that words are told apart by their times."""
        return self.own_from_s is not None or self.own_to_s is not None


@dataclass(frozen=True)
class TextSegment:
    """A stretch of text with its times, seconds from the start of the request's audio."""

    start_s: float
    end_s: float
    text: str
    avg_logprob: float  # natural logarithm, per token, of the segment's whole piece


@dataclass(frozen=True)
class Provenance:
    """The exact base and adapter that made a reply (promise 1). The last three are None without a domain."""

    base: str
    base_digest: str
    domain: str | None = None
    adapter_version: int | None = None
    adapter_sha256: str | None = None


@dataclass(frozen=True)
class Reply:
    """The answer to a request."""

    text: str
    segments: tuple[TextSegment, ...]
    language: str
    duration_s: float
    provenance: Provenance
