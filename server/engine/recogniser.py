"""What the engine needs of a model, and OWSM as one: a base in memory once, rows of any domains."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from adapters_store.versions import Version
from server.bank.bank import AdapterSource
from server.bank.mount import Mount
from server.bank.packed import Layout, PackedAdapter, layout_of, pack
from server.engine.messages import Piece, TextSegment
from ssvd_asr.adapted_model import AdaptedModel, adapt
from ssvd_asr.adapter.read import inspect_adapter, load_adapter
from ssvd_asr.audio.read import SAMPLE_RATE
from ssvd_asr.base.load import load_base
from ssvd_asr.base.model import BaseModel
from ssvd_asr.base.prompt import Prompt
from ssvd_asr.basis.cache import factorize
from ssvd_asr.basis.factors import LayerFactors
from ssvd_asr.errors import AdapterError, SsvdError
from ssvd_asr.mixing.compression import Compression
from ssvd_asr.mixing.core_stack import CoreStack
from ssvd_asr.mixing.hot_weights import DEFAULT_HOT_BYTES
from ssvd_asr.transcription import Transcript, transcribe

MAX_LAYOUTS = 64  # remembered: 1.3 MB of a 1B model's adapter, read again in a fifth of a check's time
MAX_KNOWN = 100_000  # digests of files that have been checked


@dataclass(frozen=True)
class Search:
    """How words are looked for; see the settings of these names."""

    beam_size: int = 1
    ctc_weight: float = 0.0


GREEDY = Search()


@dataclass(frozen=True)
class Decoded:
    """What one piece says; times from the start of the piece's request."""

    text: str
    segments: tuple[TextSegment, ...]


class Recogniser(AdapterSource, Protocol):
    """A model that decodes pieces of any domains together. The engine's tests have one without a network."""

    name: str  # of the base
    digest: str  # of the base, "sha256:..."
    window_samples: int  # the longest piece, at 16 kHz
    knows_previous_text: bool  # else a previous text confuses it

    def has_language(self, symbol: str) -> bool:
        """Whether the base was made for a language, "<eng>"."""
        ...

    def row_samples(self, samples: int) -> int:
        """To how many samples a piece is padded where it is alone in a batch."""
        ...

    def decode(self, pieces: Sequence[Piece], mount: Mount) -> list[Decoded]:
        """Decode pieces, in their order, as one batch. Only ever called from the engine's own thread."""
        ...


class OwsmRecogniser:
    """A base model with the adaptable linears in place; its weights are never changed, nor loaded again."""

    def __init__(
        self,
        base: BaseModel,
        factors: Mapping[str, LayerFactors],
        adapted: AdaptedModel,
        *,
        hot_max_bytes: int = DEFAULT_HOT_BYTES,
        search: Search = GREEDY,
        compression: Compression | None = None,
    ) -> None:
        """Take what `load` makes; `adapted` is the network of `base` with these factors."""
        self.name = base.name
        self.digest = base.digest
        self.window_samples = base.config.window_samples
        self.knows_previous_text = base.config.knows_previous_text
        self.device = base.device
        self.dtype = base.dtype
        self._base = base
        self._factors = factors
        self._adapted = adapted
        self._hot_max_bytes = hot_max_bytes
        self._search = search
        self.compression = compression
        self._known: OrderedDict[str, None] = OrderedDict()  # digests of the files checked, oldest use first
        self._layouts: OrderedDict[str, Layout] = OrderedDict()  # of some of them

    @classmethod
    def load(
        cls,
        spec: str,
        *,
        device: str,
        dtype: str,
        cache_dir: Path | None = None,
        hot_max_bytes: int = DEFAULT_HOT_BYTES,
        search: Search = GREEDY,
        compression: Compression | None = None,
        basis_share: float = 1.0,
    ) -> OwsmRecogniser:
        """Load a base, factorise it (once per machine: the cache keeps the factors) and adapt it.

        basis_share: of each layer's singular directions the device holds so many.

        Raises BaseModelError or SsvdError: see load_base and factorize.
        """
        base = load_base(spec, device=device, dtype="float32")
        factors = factorize(base, cache_dir)
        if dtype not in ("auto", "float32"):
            del base  # rounded weights have another basis, so the factors come from those in float32
            base = load_base(spec, device=device, dtype=dtype)
        return cls(
            base,
            factors,
            adapt(base.network, factors, share=basis_share),
            hot_max_bytes=hot_max_bytes,
            search=search,
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
        """See Recogniser. OWSM is trained on padded windows, and hears nothing but whole ones."""
        return max(samples, self.window_samples)

    def read_adapter(self, version: Version) -> PackedAdapter:
        """See AdapterSource. Base, basis and numbers are checked the first time that a digest is read."""
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
        order = sorted(range(len(pieces)), key=slots.__getitem__)  # one domain's rows stand together
        # CTC knows no times: rows that want them are searched without it.
        timed = [index for index in order if pieces[index].timestamps and self._search.ctc_weight]
        others = [index for index in order if index not in timed]
        decoded: dict[int, Decoded] = {}
        for part, ctc_weight in ((others, self._search.ctc_weight), (timed, 0.0)):
            if part:
                decoded |= self._decode(
                    [(index, pieces[index], slots[index]) for index in part], mount, ctc_weight
                )
        return [decoded[index] for index in range(len(pieces))]

    def _decode(
        self, rows: Sequence[tuple[int, Piece, int]], mount: Mount, ctc_weight: float
    ) -> dict[int, Decoded]:
        """Decode (place, piece, slot) together; by place."""
        transcripts = transcribe(
            self._base,
            [piece.wave for _, piece, _ in rows],
            adapted=self._adapted,
            stack=mount.stack,
            rows=None if mount.stack is None else [slot for _, _, slot in rows],
            prompts=[
                Prompt(piece.language, "<asr>", piece.timestamps, piece.previous_text) for _, piece, _ in rows
            ],
            beam_size=self._search.beam_size,
            ctc_weight=ctc_weight,
        )
        return {
            place: _placed(piece, each) for (place, piece, _), each in zip(rows, transcripts, strict=True)
        }

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
            # In half precision no number is too large. A core that would lose too much is refused now.
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
