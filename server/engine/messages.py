"""Messages between the parts of the server: frozen data without behaviour."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from adapters_store.names import pinned_reference
from server.auto.wish import AutoWish
from server.bank.bank import Lease
from ssvd_asr.audio.segment import CutRule
from ssvd_asr.base.prompt import RECOGNITION
from ssvd_asr.decoding.align import TimedWord
from ssvd_asr.decoding.hypothesis import Said
from ssvd_asr.decoding.overlap import Heard

FloatArray = npt.NDArray[np.float32]
OnProgress = Callable[[int, int], None]  # takes (pieces done, pieces), on any thread
OnPiece = Callable[["Decoded"], None]  # takes the pieces of a reply in order, on any thread


@dataclass(frozen=True, eq=False)
class Request:
    """One transcription requested by a client."""

    wave: FloatArray  # (samples,) mono, 16 kHz
    domain: str | None = None  # "child", "child@2", "child@sha256:..." or a blend; None is the base
    language: str = "<eng>"  # a token of the base; IDENTIFIED leaves it to a base that identifies languages
    timestamps: bool = False  # whether words and segments get times
    previous_text: str | None = None  # what was said before the wave
    cut_rule: CutRule | None = None  # the silences at which the wave is cut; None leaves that to the base
    warnings: tuple[str, ...] = ()  # of reading the wave and the form; the reply repeats them
    on_progress: OnProgress | None = None
    on_piece: OnPiece | None = None  # told of each piece as soon as its words are certain
    task: str = RECOGNITION  # or a translation that the base was trained for, as "<st_eng>"
    languages: tuple[str, ...] = ()  # among which a base identifies the language; empty: all that it has
    scores_tokens: bool = False  # whether the reply has its tokens and their log-probabilities
    keywords: tuple[str, ...] = ()  # names and terms that the search prefers
    auto: AutoWish | None = None  # the domain is to be chosen; `domain` is None
    hint: bool = False  # whether to tell of a domain that suits the recording clearly better
    caller: str | None = None  # who shares the device as one; all without a name are one
    hidden: frozenset[str] = frozenset()  # names of domains that do not exist for the caller


@dataclass(frozen=True, eq=False)
class Piece:
    """A stretch of one request, at most one window long: an entry of the queue and a row of a batch."""

    wave: FloatArray  # (samples,) at most the model's window
    start_s: float  # from the start of the request's audio
    lease: Lease | None  # None is the base
    language: str
    timestamps: bool
    previous_text: str | None
    # Where the wave was cut within speech, in seconds from the start of the request's audio. What the piece
    # hears beyond is its neighbour's.
    own_from_s: float | None = None
    own_to_s: float | None = None
    task: str = RECOGNITION
    languages: tuple[str, ...] = ()
    scores_tokens: bool = False
    keywords: tuple[str, ...] = ()
    listens: bool = False  # only the base's voice point is wanted

    @property
    def overlaps(self) -> bool:
        """Whether a neighbour hears some of the same speech, so that words are told apart by their times."""
        return self.own_from_s is not None or self.own_to_s is not None


@dataclass(frozen=True)
class TextSegment:
    """A stretch of text with its times, seconds from the start of the request's audio.

    Without `timestamps` in the request it is a whole piece, and has no words and no no_speech_prob.
    """

    start_s: float
    end_s: float
    text: str
    avg_logprob: float  # natural logarithm, per token, of the segment's whole piece
    words: tuple[TimedWord, ...] = ()  # without times where the piece could not be aligned
    no_speech_prob: float = 0.0
    channel: int | None = None  # where the channels of the recording were transcribed apart


@dataclass(frozen=True)
class SaidToken:
    """A token of the text: its UTF-8 bytes, which may be a part of a character, and a log-probability.

    log_prob: natural, see Hypothesis.log_probs.
    """

    data: bytes
    log_prob: float


@dataclass(frozen=True)
class Usage:
    """Tokens of some pieces: encoder frames of their audio, prompts, and what the decoder said."""

    audio_tokens: int = 0
    prompt_tokens: int = 0
    said_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.audio_tokens + other.audio_tokens,
            self.prompt_tokens + other.prompt_tokens,
            self.said_tokens + other.said_tokens,
        )


@dataclass(frozen=True)
class PieceDecoding:
    """How the words of one piece were found. Times in seconds from the start of the request's audio."""

    start_s: float
    end_s: float
    search: str  # `greedy`, `beam` or `ctc`
    doubt_nats: float | None  # by how much CTC prefers its best path; None where it cannot tell
    language: str = "<eng>"  # of its prompt, named by the request or identified by the base
    channel: int | None = None  # as of a segment


@dataclass(frozen=True)
class Decoded:
    """The text of one piece. Times count from the start of the request's audio.

    Attributes:
        heard: of a piece that was cut within speech, all words that it heard, its neighbours' too. Such a
            piece is one segment, and `placing.joined` tells whose words they are.
        said: how probable the words are, see Transcript.
        voice: (r,) the voice point of a piece that listens; it has no text.
        tokens: of the text, if the request wants them.
    """

    text: str
    segments: tuple[TextSegment, ...]
    decoding: PieceDecoding | None = None
    warnings: tuple[str, ...] = ()
    heard: Heard | None = None
    said: Said | None = None
    voice: FloatArray | None = None
    tokens: tuple[SaidToken, ...] = ()
    usage: Usage = Usage()


@dataclass(frozen=True)
class BlendPart:
    """One part of a blend: a version of a domain, and the factor on its numbers."""

    domain: str
    adapter_version: int
    adapter_sha256: str
    weight: float


@dataclass(frozen=True)
class Provenance:
    """The exact base and adapter that made a reply (promise 1). The last four are empty without a domain.

    Of a blend, `domain` has names and weights as "child*0.8+scottish*0.8", `adapter_sha256` is its identity,
    and only the `parts` have versions.
    """

    base: str
    base_digest: str
    domain: str | None = None
    adapter_version: int | None = None
    adapter_sha256: str | None = None
    parts: tuple[BlendPart, ...] = ()

    @property
    def pinned(self) -> str | None:
        """A request's domain that always means the same numbers; None for the base."""
        if self.parts:
            return "+".join(
                f"{pinned_reference(each.domain, each.adapter_sha256)}*{each.weight:g}" for each in self.parts
            )
        if self.domain is None or self.adapter_sha256 is None:
            return None
        return pinned_reference(self.domain, self.adapter_sha256)


@dataclass(frozen=True)
class Considered:
    """A candidate of a choice. `domain` is None for the base.

    Attributes:
        likely: how probably the recording is like the voices it was trained on; None if they are unknown.
        nats_a_token: how probable it finds its words; None if it was not decoded.
    """

    domain: str | None
    version: int | None
    sha256: str | None
    likely: float | None
    nats_a_token: float | None


@dataclass(frozen=True)
class Chosen:
    """A choice of a domain, and what was considered, best first.

    Attributes:
        start_s: where the pieces begin that decided.
        compared: whether transcripts were compared; otherwise the likeness alone decided.
        channel: where the channels of the recording were transcribed apart.
    """

    domain: str | None
    start_s: float
    compared: bool
    considered: tuple[Considered, ...]
    channel: int | None = None


@dataclass(frozen=True)
class Timing:
    """When the device worked for a request: times of time.monotonic(), and seconds.

    Attributes:
        queued_s: when the first piece that was taken had come into the queue.
        begun_s: when the device took it.
        decoded_s: when the reply was made.
        device_s: how long the batches took that had pieces of the request.
    """

    queued_s: float
    begun_s: float
    decoded_s: float
    device_s: float


@dataclass(frozen=True)
class Reply:
    """The answer to a request."""

    text: str
    segments: tuple[TextSegment, ...]
    language: str
    duration_s: float
    provenance: Provenance
    decoding: tuple[PieceDecoding, ...] = ()
    warnings: tuple[str, ...] = ()  # sentences on the audio, and on what the reply lacks
    channels: tuple[str, ...] = ()  # the text of each channel, where they were transcribed apart
    chosen: tuple[Chosen, ...] = ()  # where the request left the domain to the server
    tokens: tuple[SaidToken, ...] = ()  # of the text, if the request wanted them
    usage: Usage = Usage()
    timing: Timing | None = field(default=None, compare=False)  # None where nothing was decoded

    @property
    def words(self) -> tuple[TimedWord, ...]:
        """Every word of the segments, if times were asked for."""
        return tuple(word for segment in self.segments for word in segment.words)
