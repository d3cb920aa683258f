"""Beam search gives the tokens of ESPnet's, one utterance at a time, whatever the company."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from ssvd_asr.base.model import BaseModel
from ssvd_asr.base.prompt import Prompt
from ssvd_asr.decoding.beam import beam
from ssvd_asr.decoding.greedy import greedy
from ssvd_asr.decoding.hypothesis import Hypothesis
from ssvd_asr.decoding.options import MAX_BEAM_SIZE
from ssvd_asr.decoding.utterance_search import Candidate, Search, Sought
from ssvd_asr.errors import SsvdError
from tests.random_owsm import LONG_TEXT, waves
from tests.ssvd_asr.judged import SAFE_MARGIN, Judged

logger = logging.getLogger(__name__)

EOS = 9
SETTINGS = [(5, 0.3), (5, 0.0), (5, 0.5), (3, 0.3), (2, 0.0), (1, 0.3), (1, 0.0)]
PROMPTS = [
    Prompt(),
    Prompt(previous_text="the small boat turned slowly"),
    Prompt(previous_text=LONG_TEXT),
    Prompt(previous_text="hill"),
]


def _same(one: Hypothesis, ids: tuple[int, ...], margin: float) -> bool:
    """Equal tokens; a near tie that fell the other way is told, not hidden."""
    if one.token_ids != ids and margin < SAFE_MARGIN:
        logger.warning("a near tie of %.1e fell the other way: %s", margin, one.text)
        return True
    return one.token_ids == ids


def _assert_speech2text(judged: Judged, espnet: Any, prompts: Sequence[Prompt], **setting: Any) -> None:
    base, tokens = judged.base, judged.base.tokens
    speech2text = espnet.Speech2Text(judged.config, judged.checkpoint, **setting)
    found = beam(base, base.encode(judged.audio), prompts, **setting)
    agree = 0
    for ours, prompt, wave in zip(found, prompts, judged.audio, strict=True):
        _, _, ids, _, judge = speech2text(
            wave, text_prev=prompt.previous_text, predict_time=prompt.timestamps
        )[0]
        spoken = ids[2 if prompt.timestamps else 3 :]
        theirs = tuple(index for index in spoken if index != tokens.eos)
        assert _same(ours, theirs, ours.margin), (tokens.decode(theirs), ours)
        if ours.token_ids == theirs:
            agree += 1
            assert ours.score == pytest.approx(float(judge.score), abs=2e-3)
    assert agree >= len(found) - 1  # near ties are rare, or the search is wrong


@pytest.mark.parametrize(("beam_size", "ctc_weight"), SETTINGS)
def test_a_batch_gives_the_tokens_of_each_wave_alone_in_speech2text(
    judged: Judged, espnet: Any, beam_size: int, ctc_weight: float
) -> None:
    _assert_speech2text(judged, espnet, PROMPTS, beam_size=beam_size, ctc_weight=ctc_weight)


def test_times_follow_the_grammar_in_every_hypothesis(judged: Judged, espnet: Any) -> None:
    prompts = [
        Prompt(timestamps=True),
        Prompt(),
        Prompt(timestamps=True, previous_text=LONG_TEXT),
        Prompt(timestamps=True, previous_text="hill"),
    ]
    _assert_speech2text(judged, espnet, prompts, beam_size=5, ctc_weight=0.0)


Decode = Callable[[BaseModel, torch.Tensor, Sequence[Prompt]], list[Hypothesis]]


@pytest.mark.parametrize(
    "decode",
    [
        greedy,
        lambda *given: beam(*given, beam_size=4, ctc_weight=0.3),
        lambda *given: beam(*given, beam_size=3, ctc_weight=0.0),
    ],
    ids=["greedy", "beam with CTC", "beam"],
)
def test_a_row_says_what_it_says_alone_in_any_order_and_batch(tiny_base: BaseModel, decode: Decode) -> None:
    prompts = [
        *PROMPTS,
        Prompt(language="<nld>"),
        Prompt(previous_text="green birds on the old stone bridge"),
    ]
    encoded = tiny_base.encode(waves(6))
    alone = [decode(tiny_base, encoded[i : i + 1], [prompt])[0] for i, prompt in enumerate(prompts)]
    assert len({len(found.token_ids) for found in alone}) > 1  # rows leave at different steps
    for order in ([0, 1, 2, 3, 4, 5], [5, 3, 1, 4, 2, 0], [2, 1], [4, 4, 0]):
        together = decode(tiny_base, encoded[order], [prompts[i] for i in order])
        for index, found in zip(order, together, strict=True):
            assert _same(found, alone[index].token_ids, min(found.margin, alone[index].margin))
            if found.token_ids == alone[index].token_ids:
                assert found.score == pytest.approx(alone[index].score, abs=1e-4)


def test_a_beam_of_one_without_ctc_is_greedy(tiny_base: BaseModel) -> None:
    encoded = tiny_base.encode(waves(4))
    ours = beam(tiny_base, encoded, PROMPTS, beam_size=1, ctc_weight=0.0)
    assert [found.token_ids for found in ours] == [
        found.token_ids for found in greedy(tiny_base, encoded, PROMPTS)
    ]


def test_more_hypotheses_find_likelier_words(tiny_base: BaseModel) -> None:
    encoded = tiny_base.encode(waves(6))
    scores = [
        sum(h.score for h in beam(tiny_base, encoded, [Prompt()] * 6, beam_size=size, ctc_weight=0.0))
        for size in (1, 6)
    ]
    assert scores[1] > scores[0] + 1e-3


def test_the_limit_cuts_and_says_so(tiny_base: BaseModel) -> None:
    encoded = tiny_base.encode(waves(4))
    cut = beam(tiny_base, encoded, PROMPTS, beam_size=3, max_tokens=2)
    assert all(len(found.token_ids) <= 2 for found in cut)
    assert {found.ended for found in cut} == {len(found.token_ids) < 2 for found in cut}
    with pytest.raises(SsvdError, match="max_tokens=0"):
        beam(tiny_base, encoded, PROMPTS, max_tokens=0)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"beam_size": 0}, rf"beam_size=0: must be within 1\.\.{MAX_BEAM_SIZE}"),
        ({"beam_size": MAX_BEAM_SIZE + 1}, rf"beam_size={MAX_BEAM_SIZE + 1}"),
        ({"ctc_weight": 1.0}, r"ctc_weight=1\.0: must be at least 0 and less than 1"),
        ({"ctc_weight": -0.1}, r"ctc_weight=-0\.1"),
        ({"ctc_weight": math.nan}, "ctc_weight=nan"),
    ],
)
def test_options_out_of_range_are_refused_by_name(
    tiny_base: BaseModel, setting: dict[str, Any], message: str
) -> None:
    with pytest.raises(SsvdError, match=message):
        beam(tiny_base, tiny_base.encode(waves(1)), [Prompt()], **setting)


def test_times_with_ctc_and_too_few_prompts_are_refused(tiny_base: BaseModel) -> None:
    encoded = tiny_base.encode(waves(2))
    with pytest.raises(SsvdError, match=r"ctc_weight=0\.3 with timestamps"):
        beam(tiny_base, encoded, [Prompt(), Prompt(timestamps=True)])
    with pytest.raises(SsvdError, match="1 prompts for 2 rows"):
        beam(tiny_base, encoded, [Prompt()])


def test_a_model_that_computes_nonsense_is_an_error_not_a_transcript(tiny_base: BaseModel) -> None:
    encoded = tiny_base.encode(waves(1)) * math.nan
    with pytest.raises(SsvdError, match="no token has a finite score"):
        beam(tiny_base, encoded, [Prompt()])


def _offer(search: Search, *rows: Sequence[tuple[float, int]]) -> list[int]:
    return search.advance([([Candidate(*candidate) for candidate in row], math.inf) for row in rows])


def test_a_search_ends_where_espnets_end_detection_does() -> None:
    """What ended at three lengths in turn, two steps ago and before, was 10 below the best."""
    search = Search(Sought((1,), 2, 100, EOS))
    _offer(search, [(-1.0, EOS), (-2.0, 3)])  # ended at step 0, the best there will be
    for step in range(1, 5):
        assert not search.done
        _offer(search, [(-12.0 - step, EOS), (-11.5 - step, 3)])
    assert not search.done  # ended at 1, 2, 3, 4; steps 0 to 2 back from step 2 are not all hopeless
    _offer(search, [(-20.0, EOS), (-19.0, 3)])
    assert search.done
    assert search.best().ids == (1, EOS)


def test_the_margin_is_the_nearest_choice() -> None:
    search = Search(Sought((1,), 2, 2, EOS))
    assert _offer(search, [(-1.0, 3), (-2.0, 4), (-2.5, 5)]) == [0, 0]
    assert search.margin == 0.5
    _offer(search, [(-3.0, 3), (-math.inf, 4)], [(-3.25, 5), (-9.0, 6)])
    assert search.done
    assert search.best().score == -3.0
    assert search.margin == 0.25  # of the two that ended
