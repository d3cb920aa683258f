"""A row's tokens do not depend on its company; cached keys and values change speed only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch

from ssvd_asr.adapted_model import AdaptedModel, adapt
from ssvd_asr.base.model import BaseModel
from ssvd_asr.base.owsm.decoder import OwsmDecoder
from ssvd_asr.base.prompt import Prompt
from ssvd_asr.basis.factors import canonical_svd
from ssvd_asr.basis.layers import match_layers
from ssvd_asr.decoding.best_path import best_path
from ssvd_asr.decoding.greedy import ENDED_SHARE, greedy
from ssvd_asr.decoding.hypothesis import Hypothesis, TimedText, timed_segments
from ssvd_asr.errors import BaseModelError, SsvdError
from tests.random_owsm import LONG_TEXT, waves

K = 6
UNEQUAL = [  # in length
    Prompt(),
    Prompt(previous_text="the small boat turned slowly toward the light"),
    Prompt(previous_text=LONG_TEXT),
    Prompt(timestamps=True),
    Prompt(language="<nld>", previous_text="a chair"),
    Prompt(timestamps=True, previous_text=f"{LONG_TEXT} {LONG_TEXT}"),
]


def _ids(found: Sequence[Hypothesis]) -> list[tuple[int, ...]]:
    return [hypothesis.token_ids for hypothesis in found]


@pytest.fixture
def adapted(tiny_base: BaseModel) -> AdaptedModel:
    factors = {name: canonical_svd(linear.weight) for name, linear in match_layers(tiny_base.network).items()}
    return adapt(tiny_base.network, factors)


def _row_cores(adapted: AdaptedModel, rows: int) -> dict[str, torch.Tensor]:
    """A different random core for each row; row 0 has zeros, which is the base."""
    generator = torch.Generator().manual_seed(3)
    cores = {name: 0.3 * torch.randn(rows, K, K, generator=generator) for name in adapted.layers}
    for core in cores.values():
        core[0] = 0.0
    return cores


@pytest.mark.parametrize("timestamps", [False, True])
def test_a_row_alone_says_what_it_says_in_a_batch(tiny_base: BaseModel, timestamps: bool) -> None:
    prompts = [Prompt(timestamps=timestamps)] * 6
    encoded = tiny_base.encode(waves(6))
    together = greedy(tiny_base, encoded, prompts)
    # The test means something only where rows leave at different steps and no choice was a tie.
    assert len({len(ids) for ids in _ids(together)}) > 2
    assert min(hypothesis.margin for hypothesis in together) > 1e-4
    alone = [greedy(tiny_base, row.unsqueeze(0), prompts[:1])[0] for row in encoded]
    assert _ids(alone) == _ids(together)
    backwards = greedy(tiny_base, encoded.flip(0), prompts)
    assert _ids(backwards)[::-1] == _ids(together)


@pytest.mark.parametrize("nonsense", [math.nan, math.inf])
def test_a_row_that_computes_nonsense_is_an_error_not_a_transcript(
    tiny_base: BaseModel, nonsense: float
) -> None:
    encoded = tiny_base.encode(waves(2))
    encoded[1] *= nonsense
    with pytest.raises(SsvdError, match="no token has a finite score"):
        greedy(tiny_base, encoded, [Prompt()] * 2)
    with pytest.raises(SsvdError, match="no token has a finite score"):
        best_path(tiny_base.ctc_head, encoded, tiny_base.tokens)


@pytest.mark.parametrize(
    "limits",
    [None, [24, 24, 1, 24, 24, 2], [5, 3, 24, 4, 1, 9]],
    ids=["as they end", "long prompts leave first", "long prompts leave last"],
)
def test_prompts_of_different_lengths_share_a_batch(tiny_base: BaseModel, limits: list[int] | None) -> None:
    encoded = tiny_base.encode(waves(6))
    together = greedy(tiny_base, encoded, UNEQUAL, limits)
    assert len({len(ids) for ids in _ids(together)}) > 2
    for row, prompt in enumerate(UNEQUAL):
        limit = None if limits is None else limits[row]
        alone = greedy(tiny_base, encoded[row : row + 1], [prompt], limit)[0]
        assert alone.token_ids == together[row].token_ids
        assert alone.score == pytest.approx(together[row].score, abs=1e-4)
        assert alone.segments == together[row].segments


@pytest.mark.parametrize("prompts", [[Prompt()] * 6, UNEQUAL], ids=["equal prompts", "unequal prompts"])
def test_each_row_keeps_its_own_core_while_others_leave(
    tiny_base: BaseModel, adapted: AdaptedModel, prompts: Sequence[Prompt]
) -> None:
    audio = waves(6)
    cores = _row_cores(adapted, 6)
    plain = greedy(tiny_base, tiny_base.encode(audio), prompts)
    with adapted.using(cores):
        mixed = greedy(tiny_base, tiny_base.encode(audio), prompts)
    assert len({len(ids) for ids in _ids(mixed)}) > 2
    assert _ids(mixed)[0] == _ids(plain)[0]
    assert _ids(mixed) != _ids(plain)
    for row in range(6):
        with adapted.using({name: core[row] for name, core in cores.items()}):
            alone = greedy(tiny_base, tiny_base.encode(audio[row : row + 1]), prompts[row : row + 1])
        assert _ids(alone)[0] == _ids(mixed)[row]


def test_cores_are_whole_again_for_the_next_batch(tiny_base: BaseModel, adapted: AdaptedModel) -> None:
    audio, cores = waves(6), _row_cores(adapted, 6)
    with adapted.using(cores):
        first = greedy(tiny_base, tiny_base.encode(audio), [Prompt()] * 6)
        assert all(layer.core is cores[name] for name, layer in adapted.layers.items())
        second = greedy(tiny_base, tiny_base.encode(audio), [Prompt()] * 6)
    assert first == second


def test_rows_of_a_large_batch_leave_together_and_say_what_they_say_alone(
    tiny_base: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[int] = []

    def keep(decoder: OwsmDecoder, rows: Sequence[int]) -> None:
        kept.append(len(rows))
        whole(decoder, rows)

    whole = OwsmDecoder.keep
    monkeypatch.setattr(OwsmDecoder, "keep", keep)
    encoded = tiny_base.encode(waves(6))[[0, 1, 2, 3, 4, 5] * 4]
    prompts = [Prompt(), Prompt(previous_text="a chair")] * 12
    limits = list(range(1, 25))
    together = greedy(tiny_base, encoded, prompts, limits)
    steps_that_end_rows = len({len(ids) for ids in _ids(together)})
    assert 0 < len(kept) < steps_that_end_rows - 1
    assert all(after <= (1 - ENDED_SHARE) * before for before, after in pairwise([24, *kept]))
    for row in range(24):
        alone = greedy(tiny_base, encoded[row : row + 1], prompts[row : row + 1], limits[row])
        assert _ids(alone) == _ids(together)[row : row + 1]


def test_the_limit_cuts_and_says_so(tiny_base: BaseModel) -> None:
    encoded = tiny_base.encode(waves(6))
    whole = greedy(tiny_base, encoded, [Prompt()] * 6)
    cut = greedy(tiny_base, encoded, [Prompt()] * 6, max_tokens=2)
    assert _ids(cut) == [ids[:2] for ids in _ids(whole)]
    assert [found.ended for found in cut] == [len(found.token_ids) < 2 and found.ended for found in whole]
    # Without a limit of its own a row says at most one token a frame of encoder output.
    assert max(len(ids) for ids in _ids(whole)) <= encoded.size(1)
    with pytest.raises(SsvdError, match="max_tokens=0"):
        greedy(tiny_base, encoded, [Prompt()] * 6, max_tokens=0)


def test_cached_steps_give_espnets_own_scores(tiny_base: BaseModel) -> None:
    network, encoded = tiny_base.network, tiny_base.encode(waves(3))
    generator = torch.Generator().manual_seed(0)
    said = torch.randint(len(tiny_base.tokens), (3, 12), generator=generator)
    rows = [0, 1, 2]
    with torch.no_grad():
        decoder = OwsmDecoder(network.decoder, encoded)
        scores = decoder.advance(said[:, :5])
        for step in range(5, 12):
            theirs, _ = network.decoder.batch_score(said[rows, :step], [None] * len(rows), encoded[rows])
            torch.testing.assert_close(scores, theirs, atol=2e-5, rtol=0.0)
            if step == 8:  # rows leave, and those that stay may change places
                rows = [2, 0]
                decoder.keep(rows)
            scores = decoder.advance(said[rows, step : step + 1])


def test_a_decoder_of_another_build_is_refused(tiny_base: BaseModel) -> None:
    encoded = tiny_base.encode(waves(1))
    tiny_base.network.decoder.decoders[1].concat_after = True
    with pytest.raises(BaseModelError, match="concat_after"):
        greedy(tiny_base, encoded, [Prompt()])


def test_prompts_are_checked(tiny_base: BaseModel) -> None:
    encoded = tiny_base.encode(waves(2))
    with pytest.raises(SsvdError, match="1 prompts for 2 rows"):
        greedy(tiny_base, encoded, [Prompt()])
    with pytest.raises(SsvdError, match="'<klingon>' is no language"):
        greedy(tiny_base, encoded, [Prompt(language="<klingon>"), Prompt()])


def test_segments_are_cut_at_time_symbols(tiny_base: BaseModel) -> None:
    tokens = tiny_base.tokens
    boat, book = tokens.encode("the boat"), tokens.encode("a book")
    ids = [
        tokens.time_id(0.1), *boat, tokens.time_id(0.5),
        tokens.time_id(0.5), tokens.time_id(0.7),
        tokens.time_id(1.0), *book,
    ]  # fmt: skip
    # The second has no words; the third was cut off by the length limit and ends with the window.
    assert timed_segments(ids, tokens) == (TimedText(0.1, 0.5, "the boat"), TimedText(1.0, 3.0, "a book"))
    assert timed_segments([], tokens) == ()


def test_text_and_time_tokens_go_there_and_back(tiny_base: BaseModel) -> None:
    tokens = tiny_base.tokens
    assert tokens.decode(tokens.encode("the green boat")) == "the green boat"
    assert tokens.decode([tokens.id("<eng>"), *tokens.encode("boat"), tokens.last_time]) == "boat"
    for time_s in np.arange(0, 3.001, 0.02):
        assert tokens.time_s(tokens.time_id(float(time_s))) == pytest.approx(time_s)
    with pytest.raises(SsvdError, match="outside the window"):
        tokens.time_id(3.02)
    with pytest.raises(SsvdError, match="not a time"):
        tokens.time_s(tokens.eos)
