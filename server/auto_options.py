"""How a domain is chosen: numbers that validation data chose (docs/results/any-voice.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Hints = Literal["verbose_json", "always", "never"]


@dataclass(frozen=True)
class AutoOptions:
    """Options of the choice. The settings have the same names after `auto_`.

    Attributes:
        decode: domains, the most like first, that are decoded beside the base.
        sure: probability of the most like candidate from which it is taken without comparing transcripts.
        margin: nats a token by which a domain has to say it better than the base.
        ctc_weight: of CTC's score beside the decoder's.
        heard_s: seconds of audio, from the beginning, that decide for a recording.
        per_piece: whether each piece of a recording is decided alone.
    """

    decode: int = 2
    sure: float = 0.9
    margin: float = 0.0
    ctc_weight: float = 0.25
    heard_s: float = 30.0
    per_piece: bool = False
