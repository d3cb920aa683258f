"""Hypothesis: the result of decoding one row."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ssvd_asr.base.model import Tokens
from ssvd_asr.errors import SsvdError


@dataclass(frozen=True)
class TimedText:
    """Segment of the transcript, with times in seconds from the start of the window."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True)
class Hypothesis:
    """One decoded row.

    Attributes:
        token_ids: tokens that the decoder added to the prompt, without the closing <eos> and without <blank>.
        text: the words of token_ids, without times and other symbols.
        score: sum of the natural log-probabilities of all tokens, <eos> included; in a beam search with CTC,
            the weighted sum of the decoder's and CTC's.
        margin: the smallest distance at any step between a score that was kept and the best that was not.
            Below about 1e-4, rounding on another device or in another batch may choose the other token.
        ended: whether the transcript ended by itself; False if the length limit cut it off.
        segments: the segments between time symbols; empty if the prompt asked for no times.
        log_probs: by how much each of token_ids changed the score. Greedily that is its log-probability by
            the decoder; for a CTC best path, CTC's in the frame that is surest of it.
    """

    token_ids: tuple[int, ...]
    text: str
    score: float
    margin: float
    ended: bool
    segments: tuple[TimedText, ...] = ()
    log_probs: tuple[float, ...] = ()


IMPOSSIBLE_NATS = -1e4  # ln P by CTC of words that have more pieces than there are frames


@dataclass(frozen=True)
class Said:
    """How probable words are, natural logarithms, to compare what domains make of the same audio.

    Attributes:
        tokens: their number, the closing <eos> included.
        attention_nats: ln P by the decoder; None if no decoder was asked.
        ctc_nats: ln P by the CTC head; None without one.
    """

    tokens: int
    attention_nats: float | None
    ctc_nats: float | None

    @classmethod
    def of(cls, found: Hypothesis, ctc_nats: float | None, ctc_weight: float) -> Said:
        """Return what a hypothesis' score says, in which CTC has this weight."""
        if ctc_nats is not None:
            ctc_nats = max(ctc_nats, IMPOSSIBLE_NATS)
        if ctc_weight == 1.0:
            attention = None
        elif ctc_weight == 0.0 or ctc_nats is None:
            attention = found.score
        else:  # its words are possible by CTC, or the beam had not found them
            attention = (found.score - ctc_weight * ctc_nats) / (1.0 - ctc_weight)
        return cls(len(found.token_ids) + 1, attention, ctc_nats)

    def score(self, ctc_weight: float) -> float:
        """Return nats a token: the decoder's, plus `ctc_weight` times CTC's. Higher is better."""
        if self.attention_nats is None:
            return (self.ctc_nats or 0.0) / self.tokens
        return (self.attention_nats + ctc_weight * (self.ctc_nats or 0.0)) / self.tokens


def timed_segments(ids: Sequence[int], tokens: Tokens) -> tuple[TimedText, ...]:
    """Cut `<start> words <end> <start> words <end> ...` into segments. Those without words are left out.

    A last segment that the length limit left open ends with the window.
    """
    segments: list[TimedText] = []
    start: int | None = None
    words: list[int] = []

    def close(end: int) -> None:
        nonlocal start
        text = tokens.decode(words)
        if text and start is not None:
            segments.append(TimedText(tokens.time_s(start), tokens.time_s(end), text))
        start = None
        words.clear()

    for index in ids:
        if not tokens.is_time(index):
            words.append(index)
        elif start is None:
            start = index
        else:
            close(index)
    close(tokens.last_time)
    return tuple(segments)


def without(
    ids: Sequence[int], log_probs: Sequence[float], left_out: Collection[int | None]
) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Return ids and their log-probabilities without some tokens."""
    kept = [(index, nats) for index, nats in zip(ids, log_probs, strict=True) if index not in left_out]
    return tuple(index for index, _ in kept), tuple(nats for _, nats in kept)


def spoken(ids: Sequence[int], tokens: Tokens) -> list[int]:
    """Return ids without times."""
    return [index for index in ids if not tokens.is_time(index)]


def check_finite(score: float) -> None:
    """Raise SsvdError if the best score is not finite, so that NaN does not become an empty transcript."""
    if not math.isfinite(score):
        raise SsvdError("no token has a finite score: the model or what it heard holds NaN or infinity")
