"""The world of owsm-nano: its words can be told apart, and no split knows another's voices or sentences."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from recipes.espeak import speak, voices
from recipes.espeak.grammar import MAX_WORDS, Grammar, article, plural, vocabulary

needs_espeak = pytest.mark.skipif(
    shutil.which("espeak-ng") is None, reason="needs espeak-ng: apt-get install espeak-ng"
)


def sentences(count: int, seed: int = 1) -> list[str]:
    grammar = Grammar(random.Random(seed))
    return [grammar.sentence() for _ in range(count)]


def test_the_grammar_uses_over_a_thousand_words() -> None:
    assert len(vocabulary()) >= 1_000


def test_sentences_have_one_to_twenty_words_and_reach_both_ends() -> None:
    lengths = {len(sentence.split()) for sentence in sentences(5_000)}
    assert (min(lengths), max(lengths)) == (1, MAX_WORDS)


def test_the_same_seed_gives_the_same_sentences() -> None:
    assert sentences(50) == sentences(50)
    assert sentences(50) != sentences(50, seed=2)


@pytest.mark.parametrize(
    ("noun", "expected"),
    [("cat", "cats"), ("fox", "foxes"), ("baby", "babies"), ("monkey", "monkeys"), ("wolf", "wolves")],
)
def test_plurals_are_written_as_in_english(noun: str, expected: str) -> None:
    assert plural(noun) == expected


def test_articles_follow_the_sound() -> None:
    assert [article(word) for word in ("apple", "honest", "useful", "castle")] == ["an", "an", "a", "a"]


@needs_espeak
@pytest.mark.parametrize("accent", speak.ACCENTS["adult"])
def test_no_two_words_sound_the_same(accent: str) -> None:
    words = sorted(vocabulary(20_000))
    command = ["espeak-ng", "-q", "-x", "-v", accent]
    lines = "\n".join(words) + "\n"
    spoken = subprocess.run(command, input=lines, capture_output=True, text=True, check=True)
    sounds: dict[str, list[str]] = defaultdict(list)
    for word, phonemes in zip(words, spoken.stdout.splitlines(), strict=True):
        sounds[phonemes.strip().replace("'", "").replace(",", "")].append(word)
    assert [same for same in sounds.values() if len(same) > 1] == []


def test_splits_share_neither_voices_nor_sentences() -> None:
    stock = [set(names) for names in voices.VOICES.values()]
    assert sum(map(len, stock)) == len(set.union(*stock))
    for split in speak.SPLITS:
        drawn = 0
        for index in range(40):
            text, speaker = speak.utterance("adult", split, index)
            assert speak.split_of(text) == split
            drawn += (is_drawn := speaker.variant.startswith("drawn"))
            assert is_drawn or speaker.variant in voices.VOICES[split]
        assert (drawn > 10) == (split == "train")


@pytest.mark.parametrize("domain", ["child", "scottish"])
def test_unseen_words_are_most_of_what_the_unseen_sentences_say(domain: str) -> None:
    heard = {word for i in range(500) for word in speak.utterance(domain, "train", i)[0].split()}
    words: list[str] = []
    for index in range(60):
        text, speaker = speak.utterance(domain, speak.UNSEEN, index)
        assert speaker.variant in voices.VOICES["test"]
        assert not heard.issuperset(text.split())
        words += text.split()
    assert sum(word not in heard for word in words) > len(words) / 3


def test_a_drawn_voice_is_a_function_of_its_number() -> None:
    assert voices.drawn_variant(7) == voices.drawn_variant(7)
    assert (
        len({voices.drawn_variant(number).partition("\n")[2] for number in range(voices.DRAWN)})
        == voices.DRAWN
    )


@needs_espeak
def test_espeak_speaks_drawn_voices_and_its_own_alike() -> None:
    """A name that espeak-ng does not find is spoken by its default voice, without a word."""

    def waves(variants: tuple[str, ...]) -> set[bytes]:
        return {speak.espeak("seven green birds", speak.Speaker("en-us", v, 150, 50)) for v in variants}

    last = f"drawn{voices.DRAWN - 1:03d}"
    assert len(waves(("", "m1", "f3", "drawn000", "drawn199", "drawn200", last))) == 7
    own = subprocess.run(
        ["espeak-ng", "-v", "en-us+f3", "-s", "150", "-p", "50", "--stdout", "--", "seven green birds"],
        check=True, capture_output=True,
    ).stdout  # fmt: skip
    assert waves(("f3",)) == {own}


def test_an_utterance_is_the_same_in_every_run() -> None:
    assert speak.utterance("child", "test", 7) == speak.utterance("child", "test", 7)


@pytest.mark.parametrize(
    ("said", "expected"),
    [("r'Ed", "w'Ed"), ("br'O:t", "bw'O:t"), ("k'O@na#", "k'O@na#"), ("gr'andfA:D3", "gw'andfA:D3")],
)
def test_children_say_r_as_w_and_nothing_else_changes(said: str, expected: str) -> None:
    assert speak.r_as_w(said) == expected


@needs_espeak
def test_scaling_the_vocal_tract_raises_the_spectrum() -> None:
    def centroid_hz(scale: float) -> float:
        speaker = speak.Speaker("en-us", "m1", 120, 50, scale)
        power = np.abs(np.fft.rfft(speak.speak("seven green birds", "adult", speaker))) ** 2
        hertz = np.fft.rfftfreq(2 * (len(power) - 1), 1 / speak.SAMPLE_RATE)
        return float((power * hertz).sum() / power.sum())

    assert centroid_hz(1.3) > 1.1 * centroid_hz(1.0)


@needs_espeak
def test_a_corpus_is_written_with_what_the_trainer_reads(tmp_path: Path) -> None:
    options = ["--domain", "child", "--split", "test", "--utterances", "3"]
    assert speak.main([*options, "--out", str(tmp_path)]) == 0
    from ssvd_asr.manifests.read import read_entries
    from ssvd_asr.manifests.utterances import Utterance

    entries = read_entries(tmp_path / "child-test" / "manifest.jsonl")
    assert [type(entry) for entry in entries] == [Utterance] * 3
