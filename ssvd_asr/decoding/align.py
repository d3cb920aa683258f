"""Word times by CTC forced alignment of a hypothesis with its encoder frames.

The words are given and nothing is decoded again, so asking for times changes no word.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ssvd_asr.base.model import Tokens
from ssvd_asr.base.window import Clock
from ssvd_asr.decoding.best_path import CHUNK_BYTES, blank_of
from ssvd_asr.decoding.hypothesis import Hypothesis
from ssvd_asr.writing import gap_before

if TYPE_CHECKING:
    from torchaudio.functional import TokenSpan

# A longer gap between the frames of two words is a pause. Without a pause, 99 of 100 gaps are shorter
# (owsm-nano: 0.4 s on adult-valid and scottish-valid, 0.56 s on child-valid, 100 utterances each).
PAUSE_S = 0.5


@dataclass(frozen=True)
class TimedWord:
    """A word of a transcript. Times are in seconds from the start of the wave.

    Attributes:
        token_ids: the word's pieces.
        start_s, end_s: None if the words could not be aligned.
        confidence: mean over the word's pieces of CTC's probability of the piece, itself a mean over the
            piece's frames. A wrong word may have a high one.
        gap: what stands before it in a text: a space, or nothing in scripts that have none.
    """

    word: str
    token_ids: tuple[int, ...]
    start_s: float | None = None
    end_s: float | None = None
    confidence: float | None = None
    gap: str = " "

    @property
    def middle_s(self) -> float | None:
        """The middle of the word; None without times."""
        return None if self.start_s is None or self.end_s is None else (self.start_s + self.end_s) / 2


def with_gaps(words: Sequence[TimedWord], tokens: Tokens) -> tuple[TimedWord, ...]:
    """Return the words of one transcript with the gaps that the base's own text has."""
    if not words:
        return ()
    found = [replace(words[0], gap=gap_before(words[0].word))]
    for before, word in pairwise(words):
        both = tokens.decode((*before.token_ids, *word.token_ids))
        found.append(replace(word, gap="" if both == before.word + word.word else " "))
    return tuple(found)


def text_of(words: Iterable[TimedWord]) -> str:
    """Return words as a text, with their gaps."""
    return "".join(word.gap + word.word for word in words).strip()


def shifted(words: Sequence[TimedWord], by_s: float) -> tuple[TimedWord, ...]:
    """Return the words with their times moved by `by_s`. Words without times stay unchanged."""
    return tuple(
        word
        if word.start_s is None or word.end_s is None
        else replace(word, start_s=word.start_s + by_s, end_s=word.end_s + by_s)
        for word in words
    )


@dataclass(frozen=True)
class Alignment:
    """Words of one hypothesis. `warnings` says why they have no times, if they have none."""

    words: tuple[TimedWord, ...] = ()
    warnings: tuple[str, ...] = ()


@torch.no_grad()
def align(
    head: nn.Linear | None,
    encoded: Iterable[Tensor],
    hypotheses: Sequence[Hypothesis],
    durations_s: Sequence[float],
    tokens: Tokens,
    clock: Clock,
) -> list[Alignment]:
    """Align each hypothesis with its row of encoder output, (T, d) each.

    The CTC head reads the rows one by one and in chunks of frames. Of its output over the whole vocabulary
    only the columns of the row's own tokens and of the blank are kept, (T, tokens + 1) on the CPU.

    Words that cannot be aligned have no times, and a warning says why.

    Args:
        head: the base's CTC head, or None if it has none.
        durations_s: length of each row's audio. Frames that begin later are padding, and no word is
            aligned to them.
    """
    return [
        _align_row(head, row[clock.lead_frames :], hypothesis, duration_s, tokens, clock)
        for row, hypothesis, duration_s in zip(encoded, hypotheses, durations_s, strict=True)
    ]


def _align_row(
    head: nn.Linear | None,
    encoded: Tensor,
    hypothesis: Hypothesis,
    duration_s: float,
    tokens: Tokens,
    clock: Clock,
) -> Alignment:
    """Align one hypothesis with its encoder output (T, d)."""
    words = tokens.words(hypothesis.token_ids)
    if not words:
        return Alignment()
    ids = [index for _, pieces in words for index in pieces]
    frames = min(len(encoded), max(1, math.ceil(round(duration_s / clock.frame_s, 6))))
    needed = len(ids) + sum(one == other for one, other in pairwise(ids))
    if head is None:
        return _untimed(words, "the base has no CTC head")
    if needed > frames:
        held = f"{duration_s:.2f} s of audio have {frames}"
        return _untimed(words, f"the {len(ids)} pieces of the text need {needed} encoder frames, {held}")
    # Columns of the tokens in use, the blank's first; a token that occurs twice has one column.
    columns = [blank_of(tokens), *dict.fromkeys(ids)]
    place = {token: column for column, token in enumerate(columns)}
    spans = iter(_spans(_log_probs(head, encoded[:frames], columns), [place[token] for token in ids]))
    timed = []
    for word, pieces in words:
        own = [next(spans) for _ in pieces]
        confidence = sum(span.score for span in own) / len(own)
        timed.append(
            TimedWord(word, pieces, own[0].start * clock.frame_s, own[-1].end * clock.frame_s, confidence)
        )
    return Alignment(tuple(_placed(timed, duration_s, clock)))


def _untimed(words: Sequence[tuple[str, tuple[int, ...]]], why: str) -> Alignment:
    return Alignment(tuple(TimedWord(*word) for word in words), (f"no word times: {why}",))


def _log_probs(head: nn.Linear, encoded: Tensor, columns: Sequence[int]) -> Tensor:
    """Return CTC's log-probabilities (T, len(columns)) of encoder output (T, d), float32 on the CPU."""
    wanted = torch.tensor(columns, device=encoded.device)
    frames = max(1, CHUNK_BYTES // (4 * head.out_features))
    parts = []
    for part in torch.split(encoded, frames):
        logits = head(part).float()  # (frames, V)
        parts.append(logits[:, wanted] - torch.logsumexp(logits, dim=-1, keepdim=True))
    return torch.cat(parts).cpu()


def _spans(log_probs: Tensor, targets: Sequence[int]) -> list[TokenSpan]:
    """Return the frames of each target on the likeliest path through (T, C), the blank in column 0.

    A span's score is the mean of the target's probability in its frames. torchaudio aligns one row at a time,
    and only where T is at least the number of targets plus that of immediate repetitions.
    """
    from torchaudio.functional import forced_align, merge_tokens

    path, scores = forced_align(log_probs[None], torch.tensor([list(targets)]), blank=0)
    spans: list[TokenSpan] = merge_tokens(path[0], scores[0].exp(), blank=0)
    return spans


def _placed(words: Sequence[TimedWord], duration_s: float, clock: Clock) -> Iterator[TimedWord]:
    """Convert the times of the frames in which CTC emitted a word to times in the audio.

    CTC emits only the beginning of a word. So a word lasts until the next one starts, unless more than
    PAUSE_S lie between the two. Every time is inside the audio, and no word ends after the next one starts.
    """
    starts = [min(max((word.start_s or 0.0) + clock.start_shift_s, 0.0), duration_s) for word in words]
    for word, following, start_s, next_s in zip(
        words, [*words[1:], None], starts, [*starts[1:], duration_s], strict=True
    ):
        emitted_s = word.end_s or 0.0
        joined = following is not None and (following.start_s or 0.0) - emitted_s <= PAUSE_S
        end_s = next_s if joined else emitted_s + clock.end_shift_s
        yield replace(word, start_s=start_s, end_s=min(max(end_s, start_s), next_s))
