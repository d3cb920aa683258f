"""Recogniser by a base model, which is in memory once. The rows of a batch may be of any domains."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from adapters_store.versions import Version
from server.bank.mount import Mount
from server.bank.packed import Layout, PackedAdapter, check_cores, layout_of, pack
from server.engine.messages import Decoded, Piece, SaidToken, Usage
from server.engine.placing import placed
from server.engine.recogniser import CheckedAdapter
from ssvd_asr.adapted_model import AdaptedModel, adapt
from ssvd_asr.adapter.canary import check_publishable
from ssvd_asr.adapter.metadata import AdapterMetadata
from ssvd_asr.adapter.read import inspect_adapter, load_adapter
from ssvd_asr.audio.read import SAMPLE_RATE
from ssvd_asr.base.load import load_base
from ssvd_asr.base.model import BaseModel
from ssvd_asr.base.prompt import RECOGNITION, TO_ENGLISH, Prompt
from ssvd_asr.basis.cache import factorize
from ssvd_asr.basis.factors import LayerFactors
from ssvd_asr.decoding.hypothesis import Hypothesis
from ssvd_asr.decoding.keywords import check_keywords
from ssvd_asr.decoding.options import DEFAULT, GREEDY, DecodingOptions
from ssvd_asr.errors import AdapterError, KeywordError, SsvdError
from ssvd_asr.mixing.compression import Compression
from ssvd_asr.mixing.core_stack import CoreStack
from ssvd_asr.transcription import Transcript, transcribe

Times = Literal["aligned", "base"]  # where times come from, see the setting

MAX_LAYOUTS = 64  # kept, 1.3 MB each for a 1B model; reading one again takes a fifth of a check's time
MAX_KNOWN = 100_000  # digests kept of files that have been checked


class ModelRecogniser:
    """A base model whose linears are adaptable. Its weights are loaded once and never change."""

    def __init__(
        self,
        base: BaseModel,
        factors: Mapping[str, LayerFactors],
        adapted: AdaptedModel,
        *,
        hot_max_bytes: int | None = None,
        search: DecodingOptions = DEFAULT,
        times: Times = "aligned",
        compression: Compression | None = None,
    ) -> None:
        """See `load`. `adapted` is the network of `base`, adapted with `factors`.

        Raises SsvdError for a search or times that the base cannot do (SSVD_SEARCH, SSVD_TIMES).
        """
        self.name = base.name
        self.digest = base.digest
        self.window_samples = base.window.samples
        self.longest_piece_samples = base.window.longest_piece_samples
        self.piece_context_samples = base.window.context_samples
        self.bears_silences = base.window.bears_silences
        self.knows_previous_text = base.knows_previous_text
        self.identifies_language = len(base.tokens.languages) > 1
        self.translates = TO_ENGLISH in base.tokens.tasks
        self.voice_probe = base.voice_probe
        self.device = base.device
        self.dtype = base.dtype
        self._base = base
        self._factors = factors
        self._adapted = adapted
        self._hot_max_bytes = hot_max_bytes
        if times == "base" and "greedy" not in base.searches:
            raise SsvdError(f"times base: base {base.name!r} has no decoder to say them (SSVD_TIMES)")
        try:
            self._search = search.of(base)
        except SsvdError as error:
            raise SsvdError(f"{error} (SSVD_SEARCH)") from error
        self._times = times
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
        hot_max_bytes: int | None = None,
        search: DecodingOptions = DEFAULT,
        times: Times = "aligned",
        compression: Compression | None = None,
        basis_share: float = 1.0,
    ) -> ModelRecogniser:
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

    @property
    def languages(self) -> Collection[str]:
        """See Recogniser."""
        return self._base.tokens.languages

    def check_keywords(self, keywords: Sequence[str]) -> None:
        """See Recogniser."""
        if keywords and self._search.method in ("greedy", "ctc"):
            raise KeywordError(
                f"keywords need a beam search, and search {self._search.method} follows none (SSVD_SEARCH)"
            )
        check_keywords(self._base.tokens, keywords)

    def row_samples(self, samples: int) -> int:
        """See Recogniser. Bases are trained on padded windows, so every row is a whole window."""
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

    def check_adapter(self, data: bytes) -> CheckedAdapter:
        """See Recogniser."""
        loaded = load_adapter(data, self._base, self._factors)
        packed = self._servable(data, loaded.metadata)
        return CheckedAdapter(packed, lambda: check_publishable(loaded, self._adapted, self._base))

    def make_stack(self, slots: int, k: Mapping[str, int]) -> CoreStack:
        """See AdapterSource."""
        return CoreStack(
            self._adapted.layers, slots, k, hot_bytes=self._hot_max_bytes, compression=self.compression
        )

    def decode(self, pieces: Sequence[Piece], mount: Mount) -> list[Decoded]:
        """See Recogniser."""
        slots = mount.launch()
        listening = [index for index, piece in enumerate(pieces) if piece.listens]
        decoded: dict[int, Decoded] = {}
        if listening:
            points = self._base.voice_points([pieces[index].wave for index in listening])
            decoded = {
                index: Decoded("", (), voice=point.numpy())
                for index, point in zip(listening, points, strict=True)
            }
        # Rows of a domain side by side.
        order = sorted((i for i in range(len(pieces)) if i not in decoded), key=slots.__getitem__)
        # CTC scores no time tokens: rows that are to say them are decoded without it.
        untold = self._search
        if untold.method == "beam":
            untold = replace(untold, ctc_weight=0.0)
        elif untold.method == "ctc":
            untold = GREEDY
        timed = [index for index in order if self._says_times(pieces[index])]
        others = [index for index in order if index not in timed]
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
                    piece.task,
                    self._says_times(piece),
                    piece.previous_text,
                    len(piece.wave) / SAMPLE_RATE,
                    piece.languages,
                    piece.keywords,
                )
                for _, piece, _ in rows
            ],
            # Words of a translation are not those that are heard.
            word_times=[
                piece.task == RECOGNITION and (piece.timestamps or piece.overlaps) for _, piece, _ in rows
            ],
            overlaps=[piece.overlaps for _, piece, _ in rows],
            options=options,
        )
        return {
            place: placed(
                piece, each, self._tokens(each) if piece.scores_tokens else (), self._usage(piece, each)
            )
            for (place, piece, _), each in zip(rows, transcripts, strict=True)
        }

    def _tokens(self, transcript: Transcript) -> tuple[SaidToken, ...]:
        said = transcript.hypothesis
        read = ((self._base.tokens.token_bytes(index), nats) for index, nats in _scored(said))
        return tuple(SaidToken(data, nats) for data, nats in read if data)

    def _usage(self, piece: Piece, transcript: Transcript) -> Usage:
        heard = math.ceil(transcript.frames * len(piece.wave) / self.window_samples)
        return Usage(heard, transcript.prompt_tokens, len(transcript.hypothesis.token_ids) + 1)

    def _says_times(self, piece: Piece) -> bool:
        """Return whether the base is to say its own time tokens, which may change its words.

        Of a translation nothing else tells the times, so it is said with them whatever the format.
        """
        return piece.task != RECOGNITION or (piece.timestamps and self._times == "base")

    def _checked(self, data: bytes) -> Layout:
        metadata = load_adapter(data, self._base, self._factors).metadata
        return self._servable(data, metadata).layout

    def _servable(self, data: bytes, metadata: AdapterMetadata) -> PackedAdapter:
        """Return a loaded file's numbers. Raises AdapterError if the device cannot hold its cores."""
        layout = layout_of(data, metadata)
        for name, k in layout.ks.items():
            held = self._adapted.layers[name].rank
            if k > held:
                raise AdapterError(
                    f"layer {name!r}: its core takes directions up to {k}, the device holds {held} of them "
                    "(SSVD_BASIS_SHARE)"
                )
        packed = pack(data, layout)
        check_cores(packed, self.dtype, self.compression)
        return packed


def _scored(found: Hypothesis) -> Iterator[tuple[int, float]]:
    return zip(found.token_ids, found.log_probs, strict=True)


def _remember[T](used: OrderedDict[str, T], sha256: str, what: T, limit: int) -> None:
    used[sha256] = what
    used.move_to_end(sha256)
    if len(used) > limit:
        used.popitem(last=False)
