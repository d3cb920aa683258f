"""Words that repeat without end are searched again by rules that do not let them, and the reply says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from ssvd_asr.audio.read import SAMPLE_RATE
from ssvd_asr.base.model import BaseModel
from ssvd_asr.base.prompt import Prompt
from ssvd_asr.decoding import decode as decoding
from ssvd_asr.decoding.beam import beam
from ssvd_asr.decoding.fallback import REPEATED, WARNING, WITHOUT_KEYWORDS, loops
from ssvd_asr.decoding.greedy import greedy
from ssvd_asr.decoding.hypothesis import Hypothesis
from ssvd_asr.decoding.options import CHECKED, GREEDY
from ssvd_asr.decoding.pace import MAX_TOKENS_PER_S
from ssvd_asr.decoding.repeats import (
    ENDLESS,
    NGRAM,
    RULES,
    Rule,
    goes_on,
    is_endless,
    no_ngram_again,
    no_third_time,
)
from ssvd_asr.transcription import transcribe
from tests.random_owsm import waves

repeats = "ssvd_asr.decoding.repeats"
TIMED = Prompt(timestamps=True)  # CTC does not judge it


@pytest.mark.parametrize(
    ("said", "third", "ngram"),
    [
        ([], set(), set()),
        ([5], set(), set()),
        ([5, 5], {5}, set()),
        ([5, 5, 5], {5}, {5}),
        ([1, 2, 1, 2], {1}, {1}),
        ([7, 1, 2, 3, 1, 2, 3], {1}, {1}),
        ([1, 2, 1, 2, 9], set(), set()),
        ([1, 2, 3, 9, 1, 2], set(), {3}),
        ([4, 4, 1, 4, 4, 1], {4}, {4}),
        ([4, 4, 1, 4, 4], {4}, {1}),
    ],
)
def test_rules_name_the_tokens_that_go_on_with_a_loop(
    said: list[int], third: set[int], ngram: set[int]
) -> None:
    assert no_third_time(said) == third
    assert no_ngram_again(said) == ngram


def test_a_loop_begins_a_phrase_again_that_it_has_said_twice() -> None:
    assert goes_on([9, 5, 6, 5, 6, 5])
    assert goes_on([7, 7, 7])
    assert not goes_on([5, 6, 5, 6, 7, 5, 6])
    assert not goes_on([])


@pytest.mark.parametrize("phrase", [[7], [7, 8], list(range(21))])
def test_a_phrase_without_end_is_told_from_one_that_ends(phrase: list[int]) -> None:
    said = [1, 2, *phrase * ENDLESS]
    assert is_endless(said)
    assert not is_endless(said[: ENDLESS - 1])
    assert not is_endless([*said, 99])
    assert not is_endless(list(range(ENDLESS)))


@pytest.mark.parametrize("times", [False, True])
def test_checked_search_of_a_whisper_stops_for_a_loop_and_one_that_is_asked_for_alone_does_not(
    tiny_whisper: BaseModel, monkeypatch: pytest.MonkeyPatch, times: bool
) -> None:
    """A beam went on to the limit behind a loop: a clip of 3 s held the device for 40 s."""
    monkeypatch.setattr(f"{repeats}.ENDLESS", 8)
    monkeypatch.setattr(f"{repeats}.LOOK_EVERY", 4)
    prompts = [Prompt(timestamps=times)] * 6
    encoded, begun = tiny_whisper.encode(waves(6)), [12] * 6
    whole = greedy(tiny_whisper, encoded, prompts, 60)
    stopped = greedy(tiny_whisper, encoded, prompts, 60, loops_from=begun)
    options: dict[str, Any] = {"beam_size": 3, "ctc_weight": 0.0, "max_tokens": 60}
    beams = beam(tiny_whisper, encoded, prompts, **options)
    short = beam(tiny_whisper, encoded, prompts, **options, loops_from=begun)
    looped = 0
    for all_of_it, some in zip(whole, stopped, strict=True):
        assert all_of_it.token_ids[: len(some.token_ids)] == some.token_ids
        looped += len(some.token_ids) < len(all_of_it.token_ids)
        assert some.ended == all_of_it.ended or not some.ended
    assert looped, "no row loops: the test shows nothing"
    assert sum(len(each.token_ids) for each in short) < sum(len(each.token_ids) for each in beams)
    asked: list[object] = []
    plain = decoding.greedy

    def noted(*given: Any, **options: Any) -> list[Hypothesis]:
        asked.append(options.get("loops_from"))
        return plain(*given, **options)

    monkeypatch.setattr(decoding, "greedy", noted)
    transcribe(tiny_whisper, waves(1), options=GREEDY)
    transcribe(tiny_whisper, waves(1), options=CHECKED)
    assert asked[:2] == [None, [int(MAX_TOKENS_PER_S * len(waves(1)[0]) / SAMPLE_RATE)]]


def _longest_repetition(said: Sequence[int]) -> int:
    """Return how often the most repeated phrase follows itself."""
    most = 0
    for first in range(len(said)):
        for length in range(1, len(said) - first + 1):
            phrase, times = said[first : first + length], 1
            while said[first + times * length : first + (times + 1) * length] == phrase:
                times += 1
            most = max(most, times)
    return most


@pytest.mark.parametrize("prompt", [Prompt(), Prompt(timestamps=True)], ids=["plain", "times"])
@pytest.mark.parametrize("family", ["tiny_base", "tiny_whisper"])
def test_a_search_by_a_rule_says_what_it_says_without_until_it_may_not(
    request: pytest.FixtureRequest, family: str, prompt: Prompt
) -> None:
    base: BaseModel = request.getfixturevalue(family)
    encoded = base.encode(waves(6))
    plain = greedy(base, encoded, [prompt] * 6, 40)
    differs = False
    for rule in RULES:
        found = greedy(base, encoded, [prompt] * 6, 40, rule)
        for bare, each in zip(plain, found, strict=True):
            words = [index for index in each.token_ids if not base.tokens.is_time(index)]
            if rule is no_third_time:
                assert _longest_repetition(words) <= 2
            ngrams = [tuple(words[at : at + NGRAM]) for at in range(len(words) - NGRAM + 1)]
            if rule is no_ngram_again:
                assert len(set(ngrams)) == len(ngrams)
            pairs = zip(bare.token_ids, each.token_ids, strict=False)
            first = next((at for at, (one, other) in enumerate(pairs) if one != other), None)
            if first is not None:
                differs = True
                before = [index for index in bare.token_ids[:first] if not base.tokens.is_time(index)]
                assert bare.token_ids[first] in rule(before)
    assert differs, "no row repeats itself: the test shows nothing"


LOOP = Hypothesis(tuple(range(4, 12)) * 8, "na na na na " * 20, -1.0, 1.0, ended=False)
WORDS = Hypothesis((4, 5, 6), "the small boat", -0.5, 1.0, ended=True)


def _searches(monkeypatch: pytest.MonkeyPatch, cured_by: Rule | None) -> list[tuple[Rule | None, int]]:
    """Let every row loop, but by one rule. Return the list of greedy searches: their rules and rows."""
    made: list[tuple[Rule | None, int]] = []

    def search(*arguments: Any, **_: Any) -> list[Hypothesis]:
        _, _, prompts, _, rule = (*arguments, None)[:5]
        made.append((rule, len(prompts)))
        return [WORDS if rule is not None and rule is cured_by else LOOP for _ in prompts]

    monkeypatch.setattr(decoding, "greedy", search)
    monkeypatch.setattr("ssvd_asr.decoding.batch.beam", lambda *given, **_: [LOOP] * len(given[1]))
    return made


@pytest.mark.parametrize("cured_by", RULES)
@pytest.mark.parametrize(("family", "prompt"), [("tiny_whisper", Prompt()), ("tiny_base", TIMED)])
def test_a_loop_is_searched_by_one_rule_after_the_other(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    family: str,
    prompt: Prompt,
    cured_by: Rule,
) -> None:
    made = _searches(monkeypatch, cured_by)
    found = transcribe(request.getfixturevalue(family), waves(2), prompts=[prompt] * 2, options=CHECKED)
    assert [each.text for each in found] == [WORDS.text] * 2
    assert [each.warnings for each in found] == [(REPEATED,)] * 2
    assert made == [(rule, 2) for rule in (None, *RULES[: RULES.index(cured_by) + 1])]


@pytest.mark.parametrize(("family", "prompt"), [("tiny_whisper", Prompt()), ("tiny_base", TIMED)])
def test_a_loop_that_no_rule_ends_is_told(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, family: str, prompt: Prompt
) -> None:
    _searches(monkeypatch, None)
    (found,) = transcribe(request.getfixturevalue(family), waves(1), prompts=[prompt], options=CHECKED)
    assert loops(found.hypothesis)
    assert found.warnings == (WARNING,)


@pytest.mark.parametrize(("family", "prompt"), [("tiny_whisper", Prompt()), ("tiny_base", TIMED)])
def test_a_loop_with_keywords_is_searched_without_them(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, family: str, prompt: Prompt
) -> None:
    made = _searches(monkeypatch, no_third_time)
    given = replace(prompt, keywords=("boat",))
    (found,) = transcribe(request.getfixturevalue(family), waves(1), prompts=[given], options=CHECKED)
    assert found.text == WORDS.text
    assert found.warnings == (REPEATED, WITHOUT_KEYWORDS)
    assert made == [(None, 1), (no_third_time, 1)]


def test_words_that_compress_well_and_do_not_repeat_are_kept(
    tiny_whisper: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    prose = replace(LOOP, token_ids=tuple(range(4, 60)), ended=True)  # a script of three bytes a letter
    assert loops(prose)
    made: list[Any] = []
    monkeypatch.setattr(decoding, "greedy", lambda *given, **_: (made.append(given[4:]), [prose])[1])
    monkeypatch.setattr("ssvd_asr.decoding.batch.beam", lambda *_, **__: [prose])
    (found,) = transcribe(tiny_whisper, waves(1), options=CHECKED)
    assert (found.text, found.warnings) == (prose.text, (WARNING,))
    assert made == [()]


def test_only_rows_that_loop_are_searched_again(
    tiny_base: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = _searches(monkeypatch, no_third_time)
    loopless = replace(WORDS, text="a chair")

    def search(
        base: BaseModel, encoded: Any, prompts: Sequence[Prompt], *options: Any, **_: Any
    ) -> list[Hypothesis]:
        found = whole(base, encoded, prompts, *options)
        return [loopless, *found[1:]] if len(prompts) == 3 else found

    whole = decoding.greedy
    monkeypatch.setattr(decoding, "greedy", search)
    found = transcribe(tiny_base, waves(3), prompts=[TIMED] * 3, options=CHECKED)
    assert [each.text for each in found] == [loopless.text, WORDS.text, WORDS.text]
    assert made == [(None, 3), (no_third_time, 2)]


def test_a_search_that_was_asked_for_is_not_followed_by_another(
    tiny_whisper: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = _searches(monkeypatch, no_third_time)
    (found,) = transcribe(tiny_whisper, waves(1), options=GREEDY)
    assert found.text == LOOP.text
    assert made == [(None, 1)]
