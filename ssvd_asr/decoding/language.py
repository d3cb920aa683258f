"""Identification of the language that is spoken: which language token the base says first.

OWSM is trained to say it after <sos>, before the task. ESPnet's Speech2Language reads it in the same way.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor

from ssvd_asr.base.model import BaseModel
from ssvd_asr.base.tokens import TokenMap
from ssvd_asr.decoding.static_decoder import open_decoder

_CODE = re.compile("<[a-z]{3}>")  # ISO 639-3
_NO_LANGUAGE = {"<asr>"}  # a task that looks like a language


def languages(tokens: TokenMap) -> tuple[str, ...]:
    """Return the languages of a base as its tokens, such as "<eng>"."""
    controls = {
        tokens.token_list[each] for each in (tokens.unk, tokens.sos, tokens.eos, tokens.sop, tokens.na)
    }
    return tuple(
        each for each in tokens.symbols() if _CODE.fullmatch(each) and each not in controls | _NO_LANGUAGE
    )


@torch.no_grad()
def identify(base: BaseModel, encoded: Tensor) -> Sequence[str]:
    """Return the likeliest language of each row of encoder output (B, T, d), as a token of the base.

    Call it where the rows' domains are open. A base always has a likeliest language, also for noise.
    """
    known = languages(base.tokens)
    ids = torch.tensor([base.tokens.id(each) for each in known], device=encoded.device)
    with open_decoder(base.network.decoder, encoded) as decoder:
        scores = decoder.read([[base.tokens.sos]] * len(encoded))  # (B, V)
    return [known[best] for best in scores[:, ids].argmax(dim=1).tolist()]
