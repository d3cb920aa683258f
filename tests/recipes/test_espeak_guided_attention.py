"""Guided attention: a piece's own frames are CTC's, and only attention elsewhere costs."""

from __future__ import annotations

import torch

from recipes.espeak.guided_attention import PROMPT, REACH, guided_attention_loss, spoken_frames

PIECES = torch.tensor([3, 4, 4])


def sure_log_probs() -> torch.Tensor:
    """(20, 6): 3 at frames 4-5, 4 at 10 and, after a blank, at 15; blank elsewhere."""
    probs = torch.full((20, 6), 0.01)
    said = torch.zeros(20, dtype=torch.long)
    said[[4, 5]], said[[10, 15]] = 3, 4
    probs[torch.arange(20), said] = 0.95
    return probs.log()


def test_frames_of_a_piece_are_where_ctc_says_it_and_a_little_around() -> None:
    spoken = spoken_frames(sure_log_probs(), PIECES)
    assert spoken is not None
    found = [torch.nonzero(row).flatten().tolist() for row in spoken]
    assert REACH == 2
    assert found == [list(range(2, 8)), list(range(8, 13)), list(range(13, 18))]


def test_a_row_too_short_for_its_pieces_is_left_out() -> None:
    assert spoken_frames(sure_log_probs()[:3], PIECES) is None
    assert spoken_frames(sure_log_probs(), PIECES[:0]) is None


def test_attention_in_place_costs_nothing_and_elsewhere_much() -> None:
    spoken = spoken_frames(sure_log_probs(), PIECES)
    assert spoken is not None
    attention = torch.zeros(1, 4, PROMPT + 4, 20)  # two heads of four are guided
    attention[0, :2, PROMPT : PROMPT + 3] = spoken / spoken.sum(-1, keepdim=True)
    arguments = (sure_log_probs()[None], torch.tensor([20]), PIECES[None])
    assert abs(float(guided_attention_loss([attention], *arguments))) < 1e-4
    attention[0, :2, PROMPT : PROMPT + 3] = (~spoken) / (~spoken).sum(-1, keepdim=True)
    assert guided_attention_loss([attention], *arguments) > 3 * 10
