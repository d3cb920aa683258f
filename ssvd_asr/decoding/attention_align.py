"""Word times by the decoder's attention on the encoder output, for bases without a CTC head.

The words are given and nothing is decoded again: the decoder reads them, and dynamic time warping finds the
monotonic path through the attention of heads that follow the speech. Source: openai/whisper, timing.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import median

import numpy as np
import numpy.typing as npt
import torch

from ssvd_asr.base.window import Clock, Listening
from ssvd_asr.decoding.align import Alignment, TimedWord

FILTER_FRAMES = 7  # width of the median filter over time
LONG_WORD = 2.0  # a word at the end of a sentence lasts at most so many median durations
LONGEST_MEDIAN_S = 0.7
SENTENCE_ENDS = (".", "。", "!", "！", "?", "？")

Matrix = npt.NDArray[np.float64]


def align_by_attention(
    words: Sequence[tuple[str, tuple[int, ...]]], listening: Listening, duration_s: float, clock: Clock
) -> Alignment:
    """Return the words (text, pieces) with their times in a row of `duration_s` seconds.

    Frames that begin later are padding, and no word is aligned to them.
    """
    if not words:
        return Alignment()
    frames = min(listening.weights.shape[2], max(1, math.ceil(round(duration_s / clock.frame_s, 6))))
    starts = starts_of(listening, frames)  # (pieces + 1,)
    probabilities = listening.log_probs.exp().tolist()
    timed, first = [], 0
    for word, pieces in words:
        last = first + len(pieces)
        confidence = sum(probabilities[first:last]) / len(pieces)
        start_s, end_s = starts[first] * clock.frame_s, starts[last] * clock.frame_s
        timed.append(
            TimedWord(
                word, pieces, min(start_s, duration_s), min(max(end_s, start_s), duration_s), confidence
            )
        )
        first = last
    return Alignment(tuple(_shortened(timed)))


def starts_of(listening: Listening, frames: int) -> list[int]:
    """Return the frame at which each token after the prompt begins, the closing token included."""
    weights = listening.weights[:, :, :frames].double()  # (heads, L, frames)
    deviation, mean = torch.std_mean(weights, dim=1, keepdim=True, unbiased=False)
    weights = (weights - mean) / deviation.clamp(min=1e-12)
    followed = _median_filtered(weights).mean(dim=0)[listening.begin :].numpy()  # (N, frames)
    tokens, times = warp(-followed)
    jumps = np.diff(tokens, prepend=-1) > 0
    found: list[int] = times[jumps].tolist()
    return found


def warp(cost: Matrix) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the cheapest monotonic path through a cost (N, M), as indices of rows and of columns.

    Steps go to the next row, the next column, or both. The table is filled by diagonals.
    """
    rows, columns = cost.shape
    table = np.full((rows + 1, columns + 1), np.inf)
    table[0, 0] = 0.0
    came = np.zeros((rows + 1, columns + 1), dtype=np.int8)  # 0 both, 1 the row, 2 the column
    for diagonal in range(2, rows + columns + 1):
        i = np.arange(max(1, diagonal - columns), min(rows, diagonal - 1) + 1)
        j = diagonal - i
        before = np.stack([table[i - 1, j - 1], table[i - 1, j], table[i, j - 1]])
        came[i, j] = before.argmin(axis=0)
        table[i, j] = cost[i - 1, j - 1] + before.min(axis=0)
    path = []
    i, j = rows, columns
    while i > 0 and j > 0:
        path.append((i - 1, j - 1))
        step = came[i, j]
        i, j = i - (step != 2), j - (step != 1)
    found = np.array(path[::-1], dtype=np.int64)
    return found[:, 0], found[:, 1]


def _median_filtered(weights: torch.Tensor) -> torch.Tensor:
    """Return weights (heads, L, frames) with the median over FILTER_FRAMES around each frame."""
    around = FILTER_FRAMES // 2
    if weights.shape[-1] <= around:
        return weights
    padded = torch.nn.functional.pad(weights, (around, around), mode="reflect")
    return padded.unfold(-1, FILTER_FRAMES, 1).median(dim=-1).values


def _shortened(words: Sequence[TimedWord]) -> Iterator[TimedWord]:
    """Shorten words at the ends of sentences, whose path crosses the pause, as Whisper's own code does."""
    lengths = [(word.end_s or 0.0) - (word.start_s or 0.0) for word in words]
    usual_s = min(LONGEST_MEDIAN_S, median([each for each in lengths if each] or [0.0]))
    longest_s = LONG_WORD * usual_s
    after_end = True
    for word, length_s in zip(words, lengths, strict=True):
        start_s, end_s = word.start_s or 0.0, word.end_s or 0.0
        ends = word.word.endswith(SENTENCE_ENDS)
        if longest_s and length_s > longest_s and ends:
            word = replace(word, end_s=start_s + longest_s)
        elif longest_s and length_s > longest_s and after_end:
            word = replace(word, start_s=end_s - longest_s)
        after_end = ends
        yield word
