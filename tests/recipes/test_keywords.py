"""The corpus of terms and the figures of what is found of them."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from recipes.espeak.grammar import load_words, plural
from recipes.espeak.keywords import Condition, conditions, keywords_of
from recipes.espeak.keywords_page import chosen_bonus, figures
from recipes.espeak.terms import load_terms, said_in, sentence


def test_terms_are_in_one_split_and_not_in_the_grammar() -> None:
    valid, test = load_terms("valid"), load_terms("test")
    known = {each for words in load_words().values() for word in words for each in (word, plural(word))}
    assert len({*valid, *test}) == len(valid) + len(test)
    assert known.isdisjoint([*valid, *test])
    assert len(test) > 200  # as many are given beside those of an utterance


@pytest.mark.parametrize("domain", ["child", "scottish"])
def test_every_sentence_says_a_term_of_its_split_and_is_the_same_again(domain: str) -> None:
    terms = load_terms("test")
    said = [sentence(domain, "test", index, terms)[0] for index in range(20)]
    assert all(said_in(text, terms) for text in said)
    assert said == [sentence(domain, "test", index, terms)[0] for index in range(20)]
    assert not any(said_in(text, load_terms("valid")) for text in said)


def test_terms_are_counted_as_whole_words() -> None:
    assert said_in("from new york to new york and yorkshire", ["new york", "york", "yorks"]) == {
        "new york": 2,
        "york": 2,
    }
    assert said_in("lima lima lima", ["lima", "peru"]) == {"lima": 3}


def test_keywords_are_the_utterances_own_and_others_that_it_does_not_say() -> None:
    terms = load_terms("test")
    entry = {"id": "one", "text": f"we went to {terms[5]} and {terms[7]}"}
    wanted = Condition("test", "terms", "child", adapted=True, others=50)
    own, given = {terms[5], terms[7]}, keywords_of(entry, terms, wanted)
    assert own <= set(given)
    assert len(set(given)) == 52
    assert given == keywords_of(entry, terms, wanted)
    assert set(given) <= set(keywords_of(entry, terms, replace(wanted, others=200)))
    assert own.isdisjoint(keywords_of(entry, terms, replace(wanted, kind="known")))
    assert keywords_of(entry, terms, replace(wanted, others=None)) == ()


def test_figures_tell_what_is_found_from_what_is_only_said() -> None:
    rows = [
        {"ref": "go to lima now", "hyp": "go to lima lima", "own": {"lima": 1}, "said": {"lima": 2}},
        {"ref": "go to oslo now", "hyp": "go to cairo now", "own": {"oslo": 1}, "said": {"cairo": 1}},
    ]
    told = figures([{**row, "audio_s": 2.0, "wall_s": 1.0} for row in rows])
    assert (told["own"], told["found"], told["false_alarms"]) == (2, 1, 2)
    assert told["wer"] == 0.25  # now -> lima, oslo -> cairo
    assert told["wer_other"] == pytest.approx(1 / 6, abs=1e-4)
    assert told["rtf"] == 0.5


def test_the_bonus_spares_ordinary_speech() -> None:
    def row(kind: str, bonus: float | None, wer: float, domain: str = "child") -> dict[str, object]:
        return {"kind": kind, "bonus": bonus, "wer": wer, "domain": domain}

    rows = [row("ordinary", None, 0.03), row("terms", None, 0.3)]
    rows += [row("ordinary", 4.0, 0.031), row("ordinary", 5.0, 0.031), row("ordinary", 6.0, 0.05)]
    rows += [row("terms", 4.0, 0.2), row("terms", 5.0, 0.18), row("terms", 6.0, 0.1)]
    random.Random(0).shuffle(rows)
    assert chosen_bonus(rows) == 5.0
    other = [row(str(each["kind"]), each["bonus"], 0.03, "scottish") for each in rows]  # type: ignore[arg-type]
    other = [
        {**each, "wer": 0.04} if each["kind"] == "ordinary" and each["bonus"] == 5.0 else each
        for each in other
    ]
    assert chosen_bonus([*rows, *other]) == 4.0  # one domain that suffers is enough


def test_every_condition_without_keywords_is_measured_beside_those_with() -> None:
    wanted = set(conditions("test", (4.0,)))
    for each in wanted:
        bare = Condition(each.split, each.kind, each.domain, each.adapted)
        assert bare in wanted
