"""Recogniser: the model interface that the engine needs, and its implementation for OWSM.

The base is in memory once; the rows of a batch may be of any domains.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Literal, Protocol

from adapters_store.versions import Version
from server.bank.bank import AdapterSource
from server.bank.mount import Mount
from server.bank.packed import Layout, PackedAdapter, layout_of, pack
from server.engine.messages import Piece, PieceDecoding, TextSegment
from server.engine.segments import segments_of, shifted
from ssvd_asr.adapted_model import AdaptedModel, adapt
from ssvd_asr.adapter.read import inspect_adapter, load_adapter
from ssvd_asr.audio.read import SAMPLE_RATE
from ssvd_asr.base.load import load_base
from ssvd_asr.base.model import BaseModel
from ssvd_asr.base.prompt import Prompt
from ssvd_asr.basis.cache import factorize
from ssvd_asr.basis.factors import LayerFactors
from ssvd_asr.decoding.hypothesis import TimedText
from ssvd_asr.decoding.options import CHECKED, GREEDY, DecodingOptions
from ssvd_asr.decoding.overlap import own_words
from ssvd_asr.errors import AdapterError, SsvdError
from ssvd_asr.mixing.compression import Compression
from ssvd_asr.mixing.core_stack import CoreStack
from ssvd_asr.mixing.hot_weights import DEFAULT_HOT_BYTES
from ssvd_asr.transcription import Transcript, transcribe

Times = Literal["aligned", "base"]  # where times come from, see the setting

MAX_LAYOUTS = 64  # kept, 1.3 MB each for a 1B model; reading one again takes a fifth of a check's time
UNSURE_NATS = 10.0  # of doubt that is left: above it the reply warns (docs/serving.md)
MAX_DOUBT_NATS = 1e4  # told where CTC finds the words impossible
MAX_KNOWN = 100_000  # digests kept of files that have been checked


@dataclass(frozen=True)
class Decoded:
    """The text of one piece. Times count from the start of the request's audio."""

    text: str
    segments: tuple[TextSegment, ...]
    decoding: PieceDecoding | None = None
    warnings: tuple[str, ...] = ()


class Recogniser(AdapterSource, Protocol):
    """A model that decodes pieces of any domains together. The engine's tests use one without a network."""

    name: str  # of the base
    digest: str  # of the base, "sha256:..."
    window_samples: int  # at 16 kHz
    longest_piece_samples: int  # at most the window: how much speech without a silence it bears
    piece_context_samples: int  # see ModelConfig
    bears_silences: bool  # within a piece; see ModelConfig
    knows_previous_text: bool  # else a previous text makes results worse

    def has_language(self, symbol: str) -> bool:
        """Return whether the base supports a language, given as "<eng>"."""
        ...

    def row_samples(self, samples: int) -> int:
        """Return the length to which a piece of `samples` is padded when it is alone in a batch."""
        ...

    def decode(self, pieces: Sequence[Piece], mount: Mount) -> list[Decoded]:
        """Decode pieces as one batch and return the results in order. Called from the device thread only."""
        ...


class OwsmRecogniser:
    """A base model whose linears are adaptable. Its weights are loaded once and never change."""

    def __init__(
        self,
        base: BaseModel,
        factors: Mapping[str, LayerFactors],
        adapted: AdaptedModel,
        *,
        hot_max_bytes: int = DEFAULT_HOT_BYTES,
        search: DecodingOptions = CHECKED,
        times: Times = "aligned",
        compression: Compression | None = None,
    ) -> None:
        """See `load`. `adapted` is the network of `base`, adapted with `factors`."""
        self.name = base.name
        self.digest = base.digest
        self.window_samples = base.config.window_samples
        self.longest_piece_samples = base.config.longest_piece_samples
        self.piece_context_samples = base.config.piece_context_samples
        self.bears_silences = base.config.bears_silences
        self.knows_previous_text = base.config.knows_previous_text
        self.device = base.device
        self.dtype = base.dtype
        self._base = base
        self._factors = factors
        self._adapted = adapted
        self._hot_max_bytes = hot_max_bytes
        self._search, self._times = search, times
        self.compression = compression
        self._known: OrderedDict[str, None] = OrderedDict()  # checked files, least recently used first
        self._layouts: OrderedDict[str, Layout] = OrderedDict()  # of some of the known files

    @classmethod
    def load(
        cls,
        spec: str,
        *,
        device: str,
        dtype: str,
        cache_dir: Path | None = None,
        hot_max_bytes: int = DEFAULT_HOT_BYTES,
        search: DecodingOptions = CHECKED,
        times: Times = "aligned",
        compression: Compression | None = None,
        basis_share: float = 1.0,
    ) -> OwsmRecogniser:
        """Load a base, factorise it and adapt it. The cache keeps the factors for later loads.

        Args:
            basis_share: share of each layer's singular directions that the device holds.

        Raises BaseModelError or SsvdError: see load_base and factorize.
        """
        base = load_base(spec, device=device, dtype="float32")
        factors = factorize(base, cache_dir)
        if dtype not in ("auto", "float32"):
            del base  # rounded weights have another basis, so the factors come from float32 weights
            base = load_base(spec, device=device, dtype=dtype)
        return cls(
            base,
            factors,
            adapt(base.network, factors, share=basis_share),
            hot_max_bytes=hot_max_bytes,
            search=search,
            times=times,
            compression=compression,
        )

    def has_language(self, symbol: str) -> bool:
        """See Recogniser."""
        try:
            self._base.tokens.id(symbol)
        except SsvdError:
            return False
        return True

    def row_samples(self, samples: int) -> int:
        """See Recogniser. OWSM is trained on padded windows, so every row is a whole window."""
        return max(samples, self.window_samples)

    def read_adapter(self, version: Version) -> PackedAdapter:
        """See AdapterSource. The first read of a digest checks the base, the basis and the numbers."""
        data, sha256 = version.read_bytes(), version.sha256
        layout = self._layouts.get(sha256)
        if layout is None:
            layout = layout_of(data, inspect_adapter(data)) if sha256 in self._known else self._checked(data)
        _remember(self._known, sha256, None, MAX_KNOWN)
        _remember(self._layouts, sha256, layout, MAX_LAYOUTS)
        return pack(data, layout, pinned=self.device.type == "cuda")

    def make_stack(self, slots: int, k: Mapping[str, int]) -> CoreStack:
        """See AdapterSource."""
        return CoreStack(
            self._adapted.layers, slots, k, hot_bytes=self._hot_max_bytes, compression=self.compression
        )

    def decode(self, pieces: Sequence[Piece], mount: Mount) -> list[Decoded]:
        """See Recogniser."""
        slots = mount.launch()
        order = sorted(range(len(pieces)), key=slots.__getitem__)  # rows of a domain side by side
        # CTC scores no time tokens: rows that are to say them are decoded without it.
        untold = replace(self._search, ctc_weight=0.0) if self._search.method == "beam" else GREEDY
        timed = [index for index in order if self._says_times(pieces[index])]
        others = [index for index in order if index not in timed]
        decoded: dict[int, Decoded] = {}
        for part, options in ((others, self._search), (timed, untold)):
            if part:
                rows = [(index, pieces[index], slots[index]) for index in part]
                decoded |= self._decode(rows, mount, options)
        return [decoded[index] for index in range(len(pieces))]

    def _decode(
        self, rows: Sequence[tuple[int, Piece, int]], mount: Mount, options: DecodingOptions
    ) -> dict[int, Decoded]:
        """Decode rows of (place, piece, slot) together. Return the results by place."""
        transcripts = transcribe(
            self._base,
            [piece.wave for _, piece, _ in rows],
            adapted=self._adapted,
            stack=mount.stack,
            rows=None if mount.stack is None else [slot for _, _, slot in rows],
            prompts=[
                Prompt(
                    piece.language,
                    "<asr>",
                    self._says_times(piece),
                    piece.previous_text,
                    len(piece.wave) / SAMPLE_RATE,
                )
                for _, piece, _ in rows
            ],
            word_times=[piece.timestamps or piece.overlaps for _, piece, _ in rows],
            options=options,
        )
        return {
            place: _placed(piece, _own(piece, each))
            for (place, piece, _), each in zip(rows, transcripts, strict=True)
        }

    def _says_times(self, piece: Piece) -> bool:
        """Return whether the base is to say its own time tokens, which may change its words."""
        return piece.timestamps and self._times == "base"

    def _checked(self, data: bytes) -> Layout:
        loaded = load_adapter(data, self._base, self._factors)
        layout = layout_of(data, loaded.metadata)
        for name, k in layout.ks.items():
            held = self._adapted.layers[name].rank
            if k > held:
                raise AdapterError(
                    f"layer {name!r}: its core takes directions up to {k}, the device holds {held} of them "
                    "(SSVD_BASIS_SHARE)"
                )
        if layout.dtype != "F16" or self.compression is not None:
            # Cores of half-precision numbers cannot overflow; others may, and then expanding raises.
            # The compression refuses a core that would lose too much.
            cores = pack(data, layout).expand("cpu", self.dtype)
            if self.compression is not None:
                for name, core in cores.items():
                    self.compression.check(name, core)
        return layout


def _remember[T](used: OrderedDict[str, T], sha256: str, what: T, limit: int) -> None:
    used[sha256] = what
    used.move_to_end(sha256)
    if len(used) > limit:
        used.popitem(last=False)


def _own(piece: Piece, transcript: Transcript) -> Transcript:
    """Leave out the words that a neighbour of the piece says, where both hear the same speech."""
    if not piece.overlaps:
        return transcript
    words = own_words(transcript.words, piece.own_from_s, piece.own_to_s)
    return replace(transcript, text=" ".join(word.word for word in words), words=words)


def _placed(piece: Piece, transcript: Transcript) -> Decoded:
    """Convert times from the window to the request.

    Segments come from the base's own times, if it was asked for them, else from the words' times. A piece
    without any times is one segment.
    """
    hypothesis = transcript.hypothesis
    avg_logprob = hypothesis.score / (len(hypothesis.token_ids) + 1)  # the score includes <eos>
    end_s = piece.start_s + len(piece.wave) / SAMPLE_RATE
    words = shifted(transcript.words, piece.start_s)
    whole = TextSegment(piece.start_s, end_s, transcript.text.strip(), avg_logprob, words)
    stretch = f"{piece.start_s:.2f} to {end_s:.2f} s: "
    doubt = transcript.doubt_nats
    told = None if doubt is None else min(doubt, MAX_DOUBT_NATS)  # JSON knows no infinity
    decoding = PieceDecoding(piece.start_s, end_s, transcript.search, told)
    unsure = [] if told is None or told <= UNSURE_NATS else ["CTC finds other words far more likely"]
    warnings = tuple(stretch + warning for warning in (*transcript.warnings, *unsure))
    if not whole.text:
        return Decoded(transcript.text, (), decoding, warnings)
    if hypothesis.segments:
        segments = _by_own_times(piece, hypothesis.segments, whole)
    elif any(word.start_s is None for word in words) or not words:
        segments = (whole,)
    else:
        segments = segments_of(words, avg_logprob)
    return Decoded(transcript.text, segments, decoding, warnings)


def _by_own_times(
    piece: Piece, stretches: Sequence[TimedText], whole: TextSegment
) -> tuple[TextSegment, ...]:
    """Make segments of the stretches that the base timed itself, each with its share of the piece's words."""
    rest = iter(whole.words)
    return tuple(
        replace(
            whole,
            # A model may predict times in the padding after the piece.
            start_s=min(piece.start_s + timed.start_s, whole.end_s),
            end_s=min(piece.start_s + timed.end_s, whole.end_s),
            text=timed.text,
            words=tuple(islice(rest, len(timed.text.split()))),
        )
        for timed in stretches
    )
