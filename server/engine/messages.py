"""What passes between the parts of the server: frozen, and without any behaviour of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from server.bank.bank import Lease

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Request:
    """One transcription that a client asked for."""

    wave: FloatArray  # (samples,) mono, 16 kHz
    domain: str | None = None  # "child", "child@2" or "child@sha256:..."; None is the base
    language: str = "<eng>"  # a token of the base
    timestamps: bool = False
    previous_text: str | None = None  # what was said before the wave


@dataclass(frozen=True, eq=False)
class Piece:
    """At most one window of one request: the unit of the queue, and the row of a batch."""

    wave: FloatArray  # (samples,) at most the model's window
    start_s: float  # where it lies in its request
    lease: Lease | None  # None is the base
    language: str
    timestamps: bool
    previous_text: str | None


@dataclass(frozen=True)
class TextSegment:
    """A stretch of text with its times, seconds from the start of the request's audio."""

    start_s: float
    end_s: float
    text: str
    avg_logprob: float  # natural, per token, of the piece that the segment is from


@dataclass(frozen=True)
class Provenance:
    """The exact bytes that made a reply (promise 1). Without a domain the last three are None."""

    base: str
    base_digest: str
    domain: str | None = None
    adapter_version: int | None = None
    adapter_sha256: str | None = None


@dataclass(frozen=True)
class Reply:
    """What a request is answered with."""

    text: str
    segments: tuple[TextSegment, ...]
    language: str
    duration_s: float
    provenance: Provenance
