"""Words lie where the decoder's attention follows them, and the path is transformers' own."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from ssvd_asr.base.window import Clock, Listening
from ssvd_asr.decoding.attention_align import align_by_attention, starts_of, warp

CLOCK = Clock(0.02)


def followed(starts: list[int], frames: int, begin: int = 2) -> Listening:
    """Two heads that attend to each token until the next one starts, after `begin` other rows."""
    weights = torch.full((2, begin + len(starts), frames), 0.01)
    weights[:, :begin, :3] = 0.5
    for row, (start, end) in enumerate(pairwise([*starts, frames])):
        weights[:, begin + row, start : max(end, start + 1)] = 1.0
    return Listening(weights / weights.sum(-1, keepdim=True), begin, torch.full((len(starts),), -0.5))


def test_the_path_is_the_one_transformers_finds() -> None:
    from transformers.models.whisper.generation_whisper import _dynamic_time_warping

    generator = np.random.default_rng(4)
    for rows, columns in [(1, 1), (1, 9), (9, 1), (7, 30), (30, 7), (20, 20)]:
        cost = generator.standard_normal((rows, columns))
        ours, theirs = warp(cost), _dynamic_time_warping(cost)
        for one, other in zip(ours, theirs, strict=True):
            assert one.tolist() == other.tolist()


def test_words_begin_where_their_first_pieces_are_attended_to() -> None:
    # Pieces at 10 and 20, a word of one piece at 40, the end at 60.
    listening = followed([10, 20, 40, 60], 100)
    found = align_by_attention([("boat", (5, 6)), ("turned", (7,))], listening, 2.0, CLOCK)
    (first, second) = found.words
    assert (first.word, first.token_ids, second.token_ids) == ("boat", (5, 6), (7,))
    assert first.start_s == pytest.approx(0.0, abs=0.21)
    assert second.start_s == pytest.approx(0.8, abs=0.08)
    assert first.end_s == second.start_s
    assert second.end_s == pytest.approx(1.2, abs=0.08)
    assert first.confidence == pytest.approx(np.exp(-0.5))


def test_no_word_lies_in_the_padding_after_the_audio() -> None:
    listening = followed([10, 20, 40, 90], 100)
    (word, last) = align_by_attention([("a", (1, 2)), ("b", (3,))], listening, 1.0, CLOCK).words
    assert 0.0 <= (word.start_s or 0.0) <= (word.end_s or 0.0) <= (last.start_s or 0.0) <= (last.end_s or 0.0)
    assert last.end_s == pytest.approx(1.0, abs=0.03)


def test_a_word_at_the_end_of_a_sentence_does_not_fill_the_pause() -> None:
    starts = [5, 15, 25, 35, 300]
    words = [("one", (1,)), ("two", (2,)), ("three", (3,)), ("four.", (4,))]
    last = align_by_attention(words, followed(starts, 400), 8.0, CLOCK).words[-1]
    assert (last.end_s or 0.0) - (last.start_s or 0.0) < 1.0


def test_more_pieces_than_frames_and_no_words_are_no_error() -> None:
    assert align_by_attention([], followed([0], 10), 1.0, CLOCK).words == ()
    listening = followed([0] * 30, 50)
    assert len(starts_of(listening, 3)) == 30
    words = [(str(index), (index,)) for index in range(29)]
    found = align_by_attention(words, listening, 0.05, CLOCK).words
    assert all(0.0 <= (w.start_s or 0.0) <= (w.end_s or 0.0) <= 0.05 for w in found)
