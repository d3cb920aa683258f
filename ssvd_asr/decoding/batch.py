"""Rows that are decoded together, and the words of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from ssvd_asr.base.model import BaseModel
from ssvd_asr.base.prompt import RECOGNITION, Prompt
from ssvd_asr.decoding.beam import beam
from ssvd_asr.decoding.hypothesis import Hypothesis, Said
from ssvd_asr.decoding.options import DecodingOptions
from ssvd_asr.decoding.pace import Pace

# Returns a context in which the domains of these rows of the batch are open.
Domains = Callable[[Sequence[int]], AbstractContextManager[object]]


@dataclass(frozen=True)
class Decoded:
    """Words of one row.

    Attributes:
        search: the search that found them. With `checked`, `beam` for a row that was decoded again, and
            `greedy` for one whose loop a rule of repeats.py ended, which a warning tells.
        doubt_nats: by how much CTC's best path is more probable (natural log), 0 if both are equal. None if
            CTC cannot tell: for a translation, for the base's own times, and without a CTC head.
        said: how probable the words are; None where the base's own times are among them.
    """

    hypothesis: Hypothesis
    search: Literal["greedy", "beam", "ctc"]
    doubt_nats: float | None
    warnings: tuple[str, ...] = ()
    said: Said | None = None

    @classmethod
    def of(
        cls,
        found: Hypothesis,
        search: Literal["greedy", "beam", "ctc"],
        judged: tuple[float, float] | None,
        ctc_weight: float,
        *,
        timed: bool = False,
    ) -> Decoded:
        """Return a row's words with what CTC thinks of them (doubt, ln P), found with this weight of CTC."""
        doubt, ctc = (None, None) if judged is None else judged
        said = None if timed else Said.of(found, ctc, ctc_weight)
        return cls(found, search, doubt, said=said)


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows that are decoded together; see `decode`."""

    base: BaseModel
    encoded: Tensor
    prompts: Sequence[Prompt]
    domains: Domains
    max_tokens: int | None
    paces: Sequence[Pace]

    def of(self, rows: Sequence[int]) -> Batch:
        """Return some of the rows, as a batch with places of its own."""
        return replace(
            self,
            encoded=chosen_rows(self.encoded, rows),
            prompts=[self.prompts[row] for row in rows],
            paces=[self.paces[row] for row in rows],
            domains=lambda chosen: self.domains([rows[place] for place in chosen]),
        )

    @property
    def everyone(self) -> range:
        """The places of all rows."""
        return range(len(self.encoded))

    @property
    def judged_by_ctc(self) -> list[int]:
        """The places of rows whose words CTC can tell from others: no translations, and no times."""
        return [
            row
            for row, prompt in enumerate(self.prompts)
            if self.base.ctc_head is not None and prompt.task == RECOGNITION and not prompt.timestamps
        ]

    @property
    def loops_from(self) -> list[int | None] | None:
        """From how many tokens on a row may be taken for a loop. CTC tells loops, so with it none may."""
        return None if self.base.ctc_head is not None else [pace.most_tokens for pace in self.paces]

    def beam(self, options: DecodingOptions, *, to_the_limit: bool = False) -> list[Hypothesis]:
        """Search all rows by a beam, loops too where they go on `to_the_limit`. Domains must be open."""
        return beam(
            self.base, self.encoded, self.prompts,
            beam_size=options.beam_size, ctc_weight=options.ctc_weight, max_tokens=self.max_tokens,
            keyword_nats=options.keyword_nats, loops_from=None if to_the_limit else self.loops_from,
        )  # fmt: skip

    def no_speech(self) -> list[float]:
        """Return how probably there is no speech, 0 where the base does not tell. Domains must be open."""
        return self.base.no_speech(self.encoded) or [0.0] * len(self.encoded)


def chosen_rows(encoded: Tensor, rows: Sequence[int]) -> Tensor:
    """Return some of the rows of encoder output (B, T, d)."""
    return encoded[torch.tensor(rows, device=encoded.device)]
