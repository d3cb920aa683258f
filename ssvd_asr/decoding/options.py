"""Options of decoding: the search, the weight of CTC, and the doubt from which a row is decoded again.

It imports no torch, so that a command can name the searches before it loads a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

from ssvd_asr.errors import KeywordError, SsvdError

if TYPE_CHECKING:
    from ssvd_asr.base.model import BaseModel
    from ssvd_asr.base.prompt import Prompt

Method = Literal["checked", "greedy", "beam", "ctc"]
METHODS: tuple[Method, ...] = get_args(Method)
MAX_BEAM_SIZE = 20  # the most in ESPnet's own scripts; memory and time grow with it

# Chosen on the validation sets of owsm-nano's domains (docs/results/search.md). A larger value leaves errors,
# a smaller one only costs time.
DOUBT_NATS = 3.0
# Chosen on validation data too (docs/results/keywords.md, keywords-whisper.md). A larger value finds more
# keywords, and says more that were not spoken. Without CTC nothing else objects to these.
KEYWORD_NATS = 4.0
KEYWORD_NATS_WITHOUT_CTC = 2.0
MAX_KEYWORD_NATS = 100.0  # far beyond what any word costs, and small enough for sums in float32


@dataclass(frozen=True)
class DecodingOptions:
    """Options of the search that turns encoder output into words.

    Attributes:
        method: `greedy`, attention alone; `beam`, a beam search by attention and CTC; `ctc`, the best path
            without a decoder; `checked`, greedy, then `beam` for the rows that CTC doubts, and greedy by the
            rules of repeats.py for rows that loop; `beam` at once for rows with keywords. None is the base's
            own: `checked`, or `ctc` for a base without a decoder.
        beam_size: hypotheses of a row that `beam` follows, 1 to MAX_BEAM_SIZE.
        ctc_weight: weight of CTC in the scores of `beam`, in [0, 1).
        doubt_nats: `checked` decodes a row again if CTC's best path is more probable than its words by
            more than this (natural log).
        keyword_nats: bonus in a beam search for each piece of a keyword (natural log). None: KEYWORD_NATS
            where CTC has a say in the scores, KEYWORD_NATS_WITHOUT_CTC where it has none.
    """

    method: Method | None = None
    beam_size: int = 5
    ctc_weight: float = 0.3
    doubt_nats: float = DOUBT_NATS
    keyword_nats: float | None = None

    def of(self, base: BaseModel) -> DecodingOptions:
        """Return the options with a search of this base, and without weight for a CTC head that it lacks.

        Raises SsvdError for a search that the base cannot do, or for a beam that its own search ignores.
        """
        own, usual = base.searches, DecodingOptions()
        method = self.method or own[0]
        if method not in METHODS:
            raise SsvdError(f"search {method!r} is not one of {', '.join(METHODS)}")
        if method not in own:
            lacks = "CTC head" if method == "ctc" else "decoder"
            raise SsvdError(f"search {method}: base {base.name!r} has no {lacks}; it knows {', '.join(own)}")
        beam = (self.beam_size, self.ctc_weight) != (usual.beam_size, usual.ctc_weight)
        if self.method is None and method == "ctc" and beam:
            raise SsvdError(
                f"base {base.name!r} has no decoder and follows no beam: leave beam_size and ctc_weight out"
            )
        weight = 0.0 if base.ctc_head is None else self.ctc_weight
        return replace(self, method=method, ctc_weight=weight)

    def check(self, prompts: Sequence[Prompt]) -> None:
        """Raise SsvdError for an option out of range or incompatible with these prompts."""
        if not self.doubt_nats >= 0:
            raise SsvdError(f"doubt_nats={self.doubt_nats}: must be at least 0")
        if self.keyword_nats is not None and not 0 <= self.keyword_nats <= MAX_KEYWORD_NATS:
            raise SsvdError(f"keyword_nats={self.keyword_nats}: must be within 0..{MAX_KEYWORD_NATS:g}")
        timed = [] if self.method == "checked" else prompts  # rows with times are not checked
        check_options(self.beam_size, self.ctc_weight, timed if self.method == "beam" else [])
        if self.method in ("greedy", "ctc") and any(prompt.keywords for prompt in prompts):
            raise KeywordError(f"search {self.method} with keywords: only a beam search follows them")
        if self.method == "ctc" and any(prompt.timestamps for prompt in prompts):
            raise SsvdError("search ctc with timestamps: CTC knows no time symbols")


def check_options(beam_size: int, ctc_weight: float, prompts: Sequence[Prompt]) -> None:
    """Raise SsvdError if an option is out of its range, or if times are wanted with CTC."""
    if not 1 <= beam_size <= MAX_BEAM_SIZE:
        raise SsvdError(f"beam_size={beam_size}: must be within 1..{MAX_BEAM_SIZE}")
    if not 0.0 <= ctc_weight < 1.0:
        raise SsvdError(f"ctc_weight={ctc_weight}: must be at least 0 and less than 1")
    if ctc_weight > 0 and any(prompt.timestamps for prompt in prompts):
        raise SsvdError(f"ctc_weight={ctc_weight} with timestamps: CTC knows no times, ctc_weight must be 0")


DEFAULT = DecodingOptions()  # everywhere
CHECKED = DecodingOptions("checked")
GREEDY = DecodingOptions("greedy")
