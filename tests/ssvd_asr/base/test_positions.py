"""Prompts of any lengths are read at once; the padding in front of the shorter ones changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
import torch

from ssvd_asr.base.model import BaseModel
from ssvd_asr.base.owsm.decoder import OwsmDecoder
from ssvd_asr.base.positions import Positions
from ssvd_asr.base.prompt import Prompt
from ssvd_asr.decoding.beam import beam
from ssvd_asr.decoding.greedy import greedy
from tests.random_owsm import LONG_TEXT, waves


@pytest.mark.parametrize(
    "decode", [greedy, partial(beam, beam_size=3, ctc_weight=0.3)], ids=["greedy", "beam"]
)
def test_all_prompts_are_read_in_one_pass(
    tiny_base: BaseModel, monkeypatch: pytest.MonkeyPatch, decode: Any
) -> None:
    lengths: list[int] = []

    def advance(decoder: OwsmDecoder, tokens: torch.Tensor) -> torch.Tensor:
        lengths.append(tokens.size(1))
        return whole(decoder, tokens)

    whole = OwsmDecoder.advance
    monkeypatch.setattr(OwsmDecoder, "advance", advance)
    prompts = [Prompt(), Prompt(previous_text=LONG_TEXT), Prompt(previous_text="a chair")]
    decode(tiny_base, tiny_base.encode(waves(3)), prompts, max_tokens=4)
    longest = max(len(tiny_base.tokens.prompt_ids(prompt)) for prompt in prompts)
    assert longest > 100
    assert lengths == [longest, 1, 1, 1]


def _prefixes(base: BaseModel, lengths: Sequence[int]) -> list[list[int]]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(len(base.tokens), (length,), generator=generator).tolist() for length in lengths]


def test_rows_with_unequal_prompts_have_espnets_own_scores(tiny_base: BaseModel) -> None:
    network, encoded = tiny_base.network, tiny_base.encode(waves(4))
    prefixes, said = _prefixes(tiny_base, [4, 130, 1, 30]), _prefixes(tiny_base, [5] * 12)
    # By step, rows that multiply and change places; then the longest prompt has 30 tokens, then 4.
    kept = {2: [3, 1, 0, 1, 2], 5: [0, 4, 2, 0], 8: [2, 2]}
    of = [0, 1, 2, 3]
    with torch.no_grad():
        decoder = OwsmDecoder(network.decoder, encoded)
        scores = decoder.read(prefixes)
        for step in range(12):
            for row, prefix in enumerate(prefixes):
                heard = encoded[of[row] : of[row] + 1]
                theirs, _ = network.decoder.batch_score(torch.tensor([prefix]), [None], heard)
                torch.testing.assert_close(scores[row], theirs[0], atol=2e-5, rtol=0.0)
            if step in kept:
                decoder.keep(kept[step])
                prefixes, of = [prefixes[row] for row in kept[step]], [of[row] for row in kept[step]]
            fed = said[step][: len(prefixes)]
            prefixes = [[*prefix, token] for prefix, token in zip(prefixes, fed, strict=True)]
            scores = decoder.advance(torch.tensor(fed).unsqueeze(1))
            # Nobody attends over the padding for a prompt that has left.
            assert decoder._said[0][0].size(2) == max(map(len, prefixes))  # type: ignore[index]


def test_what_stands_on_padding_makes_no_difference_at_all(tiny_base: BaseModel) -> None:
    encoded, prompts = tiny_base.encode(waves(3)), _prefixes(tiny_base, [4, 60, 9])
    found = []
    for fill in (0, 7, tiny_base.tokens.eos):
        with torch.no_grad():
            decoder = OwsmDecoder(tiny_base.network.decoder, encoded)
            tokens = decoder._positions.pad(prompts)
            for row, prompt in enumerate(prompts):
                tokens[row, : tokens.size(1) - len(prompt)] = fill
            steps = [tokens, *(torch.full((3, 1), said) for said in (5, 6, 7))]
            found.append(torch.stack([decoder.advance(step) for step in steps]))
    assert found[0].isfinite().all()
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_equal_prompts_need_no_mask_and_common_padding_is_dropped() -> None:
    positions = Positions(3, torch.device("cpu"))
    assert positions.pad([[5, 6]] * 3).tolist() == [[5, 6]] * 3
    assert positions.places(2) == slice(0, 2)
    assert torch.equal(positions.hidden(2), torch.tensor([[[[False, True], [False, False]]]]))
    positions.count = 2
    assert positions.places(1) == slice(2, 3)
    assert positions.hidden(1) is None
    assert positions.keep([2, 0]) == 0

    positions = Positions(3, torch.device("cpu"))
    assert positions.pad([[5], [5, 6, 7, 8], [5, 6]]).tolist() == [[0, 0, 0, 5], [5, 6, 7, 8], [0, 0, 5, 6]]
    positions.count = 4
    assert positions.places(1).tolist() == [[1], [4], [2]]
    assert positions.hidden(1)[:, 0, 0].sum(-1).tolist() == [3, 0, 2]
    assert positions.keep([2, 0, 2]) == 2
    assert positions.count == 2
    assert positions.places(1).tolist() == [[2], [1], [2]]
    assert positions.keep([0, 2]) == 0
    assert positions.hidden(1) is None
