"""Identification of the language that is spoken: which language token the base says first.

Bases with a decoder are trained to say it after the token that begins a prompt, before the task. A base
without one says it in the frames of its CTC head; its encoder was told no language.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from ssvd_asr.base.model import BaseModel


@torch.no_grad()
def identify(
    base: BaseModel, encoded: Tensor, among: Sequence[Collection[str]] | None = None
) -> Sequence[str]:
    """Return the likeliest language of each row of encoder output (B, T, d), as a symbol of the base.

    Call it where the rows' domains are open. A base always has a likeliest language, also for noise.

    among: for each row the languages to choose from, symbols of the base; where empty, all that it has.
    """
    known = list(base.tokens.languages)
    ids = torch.tensor(list(base.tokens.languages.values()), device=encoded.device)
    if "greedy" in base.searches:
        with base.open_decoder(encoded) as decoder:
            scores = decoder.read([[base.tokens.sos]] * len(encoded))[:, ids]  # (B, languages)
    else:
        assert base.ctc_head is not None  # its only search
        rows = [base.ctc_head(row).float().log_softmax(dim=1)[:, ids].amax(dim=0) for row in encoded]
        scores = torch.stack(rows)
    for row, chosen in enumerate(among or ()):
        if chosen:
            others = [place for place, language in enumerate(known) if language not in chosen]
            scores[row, others] = -torch.inf
    return [known[best] for best in scores.argmax(dim=1).tolist()]
