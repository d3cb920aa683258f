"""The base's own times: none after the audio, and one comes next where all together outweigh the words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from ssvd_asr.base.model import BaseModel
from ssvd_asr.base.owsm.grammar import forbid
from ssvd_asr.base.owsm.tokens import TokenMap
from ssvd_asr.base.prompt import Prompt
from ssvd_asr.decoding.options import GREEDY, DecodingOptions
from ssvd_asr.transcription import transcribe
from tests.random_owsm import waves

PROMPT = Prompt(timestamps=True, audio_s=2.0)


def allowed(tokens: TokenMap, said: Sequence[int], scores: Tensor) -> set[int]:
    """The ids that may follow what was said, with these log-probabilities (V,)."""
    row = scores.clone()[None]
    forbid(row, [[*tokens.prompt_ids(PROMPT), *said]], tokens, [PROMPT.last_time(tokens)])
    return {index for index, score in enumerate(row[0].tolist()) if score > -math.inf}


def test_a_time_comes_next_where_all_together_outweigh_the_best_piece(tiny_base: BaseModel) -> None:
    tokens = tiny_base.tokens
    start, (boat, *_) = tokens.time_id(0.5), tokens.encode("boat")
    scores = torch.full((len(tokens),), -20.0)
    scores[boat] = math.log(0.4)
    later = slice(tokens.time_id(1.0), tokens.time_id(1.0) + 10)
    scores[later] = math.log(0.05)  # 0.5 together, each far below the piece
    times = set(range(start + 1, tokens.time_id(2.0) + 1))
    assert allowed(tokens, [start, boat], scores) == times
    scores[later] = math.log(0.03)
    assert boat in allowed(tokens, [start, boat], scores)
    assert boat in allowed(tokens, [start], scores), "a segment has a word"


def test_no_time_is_later_than_the_audio(tiny_base: BaseModel) -> None:
    tokens = tiny_base.tokens
    scores, boat = torch.zeros(len(tokens)), tokens.encode("boat")
    end = tokens.time_id(2.0)
    assert PROMPT.last_time(tokens) == end
    assert max(allowed(tokens, [], scores) & _times(tokens)) == end - 1
    assert max(allowed(tokens, [end - 1], scores) & _times(tokens)) == end
    assert allowed(tokens, [tokens.first_time, *boat, end], scores) == {tokens.eos}


def test_audio_of_any_length_has_a_time_to_end_with(tiny_base: BaseModel) -> None:
    tokens = tiny_base.tokens
    for audio_s in (0.0, 0.001, 0.02, 2.999, 99.0):
        last = Prompt(timestamps=True, audio_s=audio_s).last_time(tokens)
        assert last is not None
        assert tokens.first_time < last <= tokens.last_time
    assert Prompt(audio_s=2.0).last_time(tokens) is None


@pytest.mark.parametrize(
    "setting", [{"options": GREEDY}, {"options": DecodingOptions("beam", 3, 0.0)}], ids=["greedy", "beam"]
)
def test_segments_end_within_the_audio(tiny_base: BaseModel, setting: dict[str, Any]) -> None:
    audio = [wave[:24_000] for wave in waves(3)]
    prompts = [Prompt(timestamps=True, audio_s=1.5)] * 3
    for found in transcribe(tiny_base, audio, prompts=prompts, **setting):
        assert all(0 <= each.start_s < each.end_s <= 1.5 for each in found.segments if found.hypothesis.ended)


def _times(tokens: TokenMap) -> set[int]:
    return set(range(tokens.first_time, tokens.last_time + 1))
