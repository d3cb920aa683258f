"""Seams: where the words of a piece end and those of its neighbour begin, chosen by CTC.

Two pieces that overlap hear the same speech, each with an edge at which words are fragments. CTC scores
every way to go from the words of one to those of the other. It reads the left piece's frames before the cut
and the right one's after it, so that no frame near an edge counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import ctc_loss

from ssvd_asr.decoding.align import TimedWord
from ssvd_asr.decoding.best_path import CHUNK_BYTES

KEPT_TOKENS = 16  # of a frame, the likeliest; others count as the least likely of these
# In favour of the seam that the words' times suggest. Of 0, 2, 3, 4 and 6 it is the best on joined validation
# clips: a larger value leaves errors in children's speech, a smaller one makes some in adults'.
USUAL_NATS = 3.0
EDGE_S = 0.1  # a word this near to the end of what its piece hears may be a fragment: no seam lies at it
MOST_WAYS = 2000  # scored at a seam, which 40 words on either side reach; a decoder that loops says more
REACH_FRAMES = 6  # from the cut to the frame at which the left piece's frames end
STEP_BACK_S = 0.05  # a word may begin this much before its predecessor, by the middles of both


@dataclass(frozen=True, eq=False)
class CtcFrames:
    """What the CTC head heard in one piece: natural log-probabilities, on the CPU.

    Attributes:
        start_s: where the first of T frames begins, in the recording.
        frame_s: length of a frame.
        blank: the blank's, (T,) float32.
        scores: of the likeliest tokens of each frame, (T, K) float32.
        tokens: which tokens these are, (T, K).
    """

    start_s: float
    frame_s: float
    blank: Tensor
    scores: Tensor
    tokens: Tensor

    def __len__(self) -> int:
        return len(self.blank)

    def shifted(self, by_s: float) -> CtcFrames:
        """Return the same frames, `by_s` later."""
        return replace(self, start_s=self.start_s + by_s)

    def place(self, at_s: float) -> int:
        """Return the frame that begins nearest to a time. It may be outside of [0, T)."""
        return round((at_s - self.start_s) / self.frame_s)

    def columns(self, first: int, stop: int, tokens: Sequence[int]) -> Tensor:
        """Return the log-probabilities (stop - first, 1 + len(tokens)) of the blank and of these tokens."""
        scores, known = self.scores[first:stop], self.tokens[first:stop]
        least = scores[:, -1]
        asked = known.unsqueeze(2) == torch.tensor(tokens, dtype=known.dtype)  # (F, K, C)
        found = scores.unsqueeze(2).masked_fill(~asked, -torch.inf).amax(dim=1)
        found = torch.where(found.isfinite(), found, least.unsqueeze(1))
        return torch.cat([self.blank[first:stop].unsqueeze(1), found], dim=1)


@torch.no_grad()
def ctc_frames(head: nn.Linear, encoded: Tensor, blank: int, frame_s: float) -> CtcFrames:
    """Return what the CTC head hears in encoder output (T, d) of one wave, its padding left out."""
    frames = max(1, CHUNK_BYTES // (4 * head.out_features))
    blanks, scores, tokens = [], [], []
    for part in torch.split(encoded, frames):
        logp = torch.log_softmax(head(part).float(), dim=-1)  # (frames, V)
        best = logp.topk(min(KEPT_TOKENS, logp.size(1)), dim=-1)
        blanks.append(logp[:, blank].cpu())
        scores.append(best.values.cpu())
        tokens.append(best.indices.cpu())
    return CtcFrames(0.0, frame_s, torch.cat(blanks), torch.cat(scores), torch.cat(tokens))


def likeliest_seam(
    left: Sequence[TimedWord],
    right: Sequence[TimedWord],
    cut_s: float,
    heard: tuple[CtcFrames, CtcFrames],
    usual: tuple[int, int],
) -> tuple[int, int]:
    """Return the place of the left piece's last word, and of the right one's first, that CTC finds likeliest.

    Args:
        left, right: the words of both pieces, with times in the recording.
        cut_s: where the recording was cut.
        heard: what CTC heard in both pieces.
        usual: the seam by the words' times. It has USUAL_NATS in its favour, and is returned where CTC cannot
            choose: without words, without their times, and for more than MOST_WAYS ways.
    """
    frames = _frames_between(*heard, cut_s)
    if frames is None or not left or not right or any(word.middle_s is None for word in (*left, *right)):
        return usual
    last_frame, first_frame = frames
    overlap_s, end_s = heard[1].start_s, heard[0].start_s + len(heard[0]) * heard[0].frame_s
    # All ways have the words before `first` and those from `stop` on in common.
    first = max((i for i, word in enumerate(left) if (word.start_s or 0.0) <= overlap_s), default=0)
    stop = (
        min((i for i, word in enumerate(right) if (word.end_s or 0.0) >= end_s), default=len(right) - 1) + 1
    )
    ways = [
        (last, begin)
        for last, begin in _ways(left, right, first, stop)
        if (last <= first or (left[last].end_s or 0.0) <= end_s - EDGE_S)
        and (begin >= stop - 1 or (right[begin].start_s or 0.0) >= overlap_s + EDGE_S)
    ]
    if not 0 < len(ways) <= MOST_WAYS:
        return usual
    said = [
        [token for word in (*left[first : last + 1], *right[begin:stop]) for token in word.token_ids]
        for last, begin in ways
    ]
    tokens = list(dict.fromkeys(token for way in said for token in way))
    from_frame = max(0, heard[0].place(left[first].start_s or 0.0) - 1)  # one more: times are estimates
    to_frame = max(first_frame, heard[1].place(right[stop - 1].end_s or 0.0) + 2)
    seen = torch.cat(
        [
            heard[0].columns(from_frame, max(from_frame, last_frame), tokens),
            heard[1].columns(first_frame, to_frame, tokens),
        ]
    )
    scores = _scores(seen, said, tokens)
    scores += torch.tensor([USUAL_NATS if way == usual else 0.0 for way in ways])
    best = int(scores.argmax())
    return ways[best] if scores[best].isfinite() else usual


def _frames_between(left: CtcFrames, right: CtcFrames, cut_s: float) -> tuple[int, int] | None:
    """Return where the left piece's frames end and where the right one's begin, or None without such a place.

    It is where both are surest of a blank, so that no token is read twice or lost.
    """
    best, surest = None, -torch.inf
    for step in sorted(range(-REACH_FRAMES, REACH_FRAMES + 1), key=abs):
        last = left.place(cut_s) + step
        first = right.place(left.start_s + last * left.frame_s)
        if not (1 < last < len(left) - 1 and 1 < first < len(right) - 1):
            continue
        sure = min(
            float(left.blank[last - 2 : last + 1].min()), float(right.blank[first - 1 : first + 2].min())
        )
        if sure > surest + 0.01:  # of equals the nearest to the cut
            best, surest = (last, first), sure
    return best


def _ways(
    left: Sequence[TimedWord], right: Sequence[TimedWord], first: int, stop: int
) -> Iterator[tuple[int, int]]:
    """Yield (last word of the left piece, first of the right one) whose times are in order."""
    for last in range(first - 1, len(left)):
        left_s = left[last].middle_s if last >= 0 else None
        for begin in range(stop + 1):
            right_s = right[begin].middle_s if begin < len(right) else None
            if left_s is None or right_s is None or right_s > left_s - STEP_BACK_S:
                yield last, begin


def _scores(seen: Tensor, said: Sequence[Sequence[int]], tokens: Sequence[int]) -> Tensor:
    """Return ln P of token sequences, (N,) float64, by frames (F, 1 + len(tokens)), the blank first."""
    place = {token: column for column, token in enumerate(tokens, start=1)}
    targets = torch.tensor([place[token] for way in said for token in way], dtype=torch.long)
    frames = seen.double().unsqueeze(1).expand(-1, len(said), -1)
    loss = ctc_loss(
        frames, targets, torch.full((len(said),), len(seen)), torch.tensor([len(way) for way in said]),
        blank=0, reduction="none",
    )  # fmt: skip
    return -loss
