"""Searches with keywords: what they find, what they leave as it is, and rows that mind no company."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from adapters_store.packaged import PACKAGED
from ssvd_asr.audio.read import read_audio
from ssvd_asr.base.load import load_base
from ssvd_asr.base.model import BaseModel, Tokens
from ssvd_asr.base.prompt import Prompt
from ssvd_asr.decoding.batch import Decoded
from ssvd_asr.decoding.beam import beam
from ssvd_asr.decoding.decode import decode
from ssvd_asr.decoding.fallback import WITHOUT_KEYWORDS
from ssvd_asr.decoding.keyword_tree import KeywordTree
from ssvd_asr.decoding.options import (
    CHECKED,
    GREEDY,
    KEYWORD_NATS,
    KEYWORD_NATS_WITHOUT_CTC,
    DecodingOptions,
)
from ssvd_asr.errors import KeywordError, SsvdError
from tests.random_whisper import WINDOW_S
from tests.speechlike import babble

# Heard by the base as "arttic", "vellage" and without a fault.
CLIPS = {"attic": "scottish-test-000000", "village": "scottish-test-000016", None: "scottish-test-000003"}
ELSEWHERE = ("reykjavik", "new zealand", "zanzibar")


@pytest.fixture(scope="module")
def nano() -> BaseModel:
    return load_base("owsm-nano", device="cpu")


@pytest.fixture(scope="module")
def heard(nano: BaseModel) -> torch.Tensor:
    """Encoder output of the clips, (3, T, d)."""
    folder = PACKAGED / "scottish" / "samples"
    with torch.no_grad():
        return nano.encode([read_audio(folder / f"{name}.opus") for name in CLIPS.values()])


@pytest.fixture(scope="module")
def whisper(whisper_folder: Path) -> BaseModel:
    return load_base(whisper_folder, device="cpu", dtype="float32")


def _decode(
    base: BaseModel,
    encoded: torch.Tensor,
    keywords: Sequence[Sequence[str]],
    options: DecodingOptions = CHECKED,
) -> list[Decoded]:
    prompts = [Prompt(keywords=tuple(each)) for each in keywords]
    return decode(base, encoded, prompts, options, lambda _: nullcontext())


def _alike(one: Decoded, other: Decoded) -> None:
    assert one.hypothesis.token_ids == other.hypothesis.token_ids
    assert one.hypothesis.score == pytest.approx(other.hypothesis.score, abs=1e-3)
    assert one.search == other.search


def test_a_keyword_is_found_that_the_base_alone_does_not_spell(nano: BaseModel, heard: torch.Tensor) -> None:
    plain = _decode(nano, heard, [()] * 3)
    given = _decode(nano, heard, [[name, *ELSEWHERE] if name else ELSEWHERE for name in CLIPS])
    for name, before, after in zip(CLIPS, plain, given, strict=True):
        assert after.search == "beam"
        if name is None:
            assert after.hypothesis.text == before.hypothesis.text
        else:
            assert name not in before.hypothesis.text.split()
            assert name in after.hypothesis.text.split()


def test_keywords_that_are_not_said_change_no_word(nano: BaseModel, heard: torch.Tensor) -> None:
    search = replace(CHECKED, method="beam")
    plain = _decode(nano, heard, [()] * 3, search)
    for keywords in (ELSEWHERE, ("mississippi",)):
        for one, other in zip(plain, _decode(nano, heard, [keywords] * 3, search), strict=True):
            _alike(one, other)


@pytest.mark.parametrize(
    "options", [CHECKED, replace(CHECKED, method="beam"), DecodingOptions("beam", 3, 0.0)]
)
def test_rows_are_those_of_each_alone(nano: BaseModel, heard: torch.Tensor, options: DecodingOptions) -> None:
    keywords: list[tuple[str, ...]] = [("attic", "village"), (), ("thomas", "peach")]
    together = _decode(nano, heard, keywords, options)
    for row, each in enumerate(keywords):
        (alone,) = _decode(nano, heard[row : row + 1], [each], options)
        _alike(together[row], alone)


def test_a_row_without_keywords_is_searched_as_if_nobody_had_any(
    nano: BaseModel, heard: torch.Tensor
) -> None:
    plain = _decode(nano, heard, [()] * 3)
    mixed = _decode(nano, heard, [("attic",), (), ()])
    for one, other in zip(plain[1:], mixed[1:], strict=True):
        _alike(one, other)
    assert mixed[2].search == "greedy"


def test_the_bonus_is_no_part_of_what_is_told(nano: BaseModel, heard: torch.Tensor) -> None:
    (found,) = _decode(nano, heard[:1], [["attic"]])
    assert "attic" in found.hypothesis.text
    prompt = nano.tokens.prompt_ids(Prompt())
    total = 0.0
    with torch.no_grad(), nano.open_decoder(heard[:1]) as decoder:
        scores = decoder.read([prompt])
        for index in (*found.hypothesis.token_ids, nano.tokens.eos):
            total += float(scores[0, index])
            scores = decoder.advance(torch.tensor([[index]]))
    assert found.said is not None
    assert found.said.attention_nats == pytest.approx(total, abs=0.05)
    assert sum(found.hypothesis.log_probs) >= found.hypothesis.score - 1e-3


def test_a_keyword_that_the_limit_cuts_off_has_no_bonus(nano: BaseModel, heard: torch.Tensor) -> None:
    prompts = [Prompt(keywords=("mississippi",))]
    (short,) = beam(nano, heard[:1], prompts, max_tokens=2, keyword_nats=90.0)
    (plain,) = beam(nano, heard[:1], [Prompt()], max_tokens=2)
    assert short.token_ids == plain.token_ids
    assert short.score == pytest.approx(plain.score, abs=1e-4)


def test_rows_of_a_base_with_normalised_scores_do_not_mind_their_company(whisper: BaseModel) -> None:
    encoded = whisper.encode([babble(2.0, seed=seed) for seed in range(3)])
    keywords: list[tuple[str, ...]] = [("hill", "small boat"), (), ("slowly",)]
    options = DecodingOptions("beam", ctc_weight=0.0)
    together = _decode(whisper, encoded, keywords, options)
    for row, each in enumerate(keywords):
        (alone,) = _decode(whisper, encoded[row : row + 1], [each], options)
        _alike(together[row], alone)


def test_the_bonus_is_smaller_where_ctc_has_no_say(
    nano: BaseModel, heard: torch.Tensor, whisper: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[float] = []

    class Noted(KeywordTree):
        def __init__(
            self, tokens: Tokens, keywords: Sequence[str], device: torch.device, bonus: float
        ) -> None:
            given.append(bonus)
            super().__init__(tokens, keywords, device, bonus)

    monkeypatch.setattr("ssvd_asr.decoding.beam.KeywordTree", Noted)
    prompts = [Prompt(keywords=("hill",))]
    beam(nano, heard[:1], prompts, max_tokens=1)
    beam(nano, heard[:1], prompts, max_tokens=1, ctc_weight=0.0)
    beam(whisper, whisper.encode([babble(1.0)]), prompts, max_tokens=1)
    beam(nano, heard[:1], prompts, max_tokens=1, keyword_nats=0.5)
    assert given == [KEYWORD_NATS, KEYWORD_NATS_WITHOUT_CTC, KEYWORD_NATS_WITHOUT_CTC, 0.5]


def test_words_that_keywords_repeat_without_end_are_found_without_them(whisper: BaseModel) -> None:
    encoded = whisper.encode([babble(WINDOW_S / 2)])
    (plain,) = _decode(whisper, encoded, [()])
    (given,) = _decode(whisper, encoded, [["hill"]], replace(CHECKED, keyword_nats=90.0))
    assert WITHOUT_KEYWORDS in given.warnings
    assert given.hypothesis.text == plain.hypothesis.text


def test_a_search_without_a_beam_refuses_keywords() -> None:
    for options in (GREEDY, DecodingOptions("ctc")):
        options.check([Prompt()])
        with pytest.raises(KeywordError, match=options.method):
            options.check([Prompt(), Prompt(keywords=("hill",))])


@pytest.mark.parametrize("nats", [-1.0, float("nan"), 1e6])
def test_a_bonus_out_of_range_is_refused(nats: float) -> None:
    with pytest.raises(SsvdError, match="keyword_nats"):
        replace(CHECKED, keyword_nats=nats).check([])
