"""What is counted, and by what rule."""

import random
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssvd_asr.errors import DataError
from ssvd_asr.scoring import normalise, score


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, World!", "hello world"),
        ("  two\t words\n", "two words"),
        ("Don’t DON'T don`t", "don't don't don't"),
        ("'tis the boys' 'quoted' o'clock", "tis the boys quoted o'clock"),
        ("well-known snake_case", "well known snake case"),
        ("3.5 per cent", "3 5 per cent"),
        ("Café naïve CÔTÉ", "café naïve côté"),
        ("हिन्दी भाषा।", "हिन्दी भाषा"),  # vowel signs are marks, not punctuation
        ("it''s", "it's"),
        ("...", ""),
        ("", ""),
        ("<eng><asr> go", "eng asr go"),
    ],
)
def test_normalisation_is_as_stated(text, expected):
    assert normalise(text) == expected


@pytest.mark.parametrize(
    "invisible",
    [
        *("\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\u00ad", "\u200e", "\u202c", "\u2062", "\u2069"),
        *("\u034f", "\u061c", "\u180e", "\ufe0f", "\U000e0061"),
    ],
)
def test_an_invisible_character_splits_no_word(invisible):
    assert normalise(f"{invisible}syl{invisible}lable one{invisible} two") == "syllable one two"
    assert normalise(f"don{invisible}’{invisible}t") == "don't"
    assert normalise(f"cafe{invisible}\u0301") == "café"
    assert normalise(invisible) == ""
    result = score(["syllable"], [f"syl{invisible}lable"])
    assert (result.wer, result.cer) == (0.0, 0.0)


@given(st.text() | st.text("a'’e\u0301\u200b\u200d\u2060\ufeff\u00ad -İ"))
def test_normalising_twice_is_normalising_once(text):
    once = normalise(text)
    assert normalise(once) == once
    assert once == once.strip()
    assert "  " not in once


def test_counts_and_rates_of_a_known_pair():
    result = score(["the cat sat on the mat", "go home"], ["the cat sit on mat", "go home now"])
    assert (result.substitutions, result.deletions, result.insertions) == (1, 1, 1)
    assert result.reference_words == 8
    assert result.utterances == 2
    assert result.wer == pytest.approx(3 / 8)
    assert result.wer_raw == pytest.approx(3 / 8)
    # "a"->"i", "the " dropped, " now" added; 22 + 7 characters
    assert result.cer == pytest.approx((1 + 4 + 4) / 29)


def test_raw_rate_sees_case_and_punctuation_and_the_normalised_one_does_not():
    result = score(["Hello, world."], ["hello world"])
    assert result.wer == 0.0
    assert result.cer == 0.0
    assert result.wer_raw == 1.0


def test_rates_are_pooled_not_averaged():
    result = score(["a", "b c d e f g h i j"], ["x", "b c d e f g h i j"])
    assert result.wer == pytest.approx(0.1)


def test_words_invented_on_an_empty_reference_are_insertions():
    result = score(["", "one two"], ["ghost", "one two"])
    assert result.insertions == 1
    assert result.wer == pytest.approx(0.5)


def test_all_references_empty_gives_the_number_of_invented_words():
    assert score([""], [""]).wer == 0.0
    silent = score(["", "..."], ["thank you", ""])
    assert silent.wer == 2.0
    assert silent.reference_words == 0
    assert silent.cer == len("thank you")


def test_an_empty_hypothesis_is_all_deletions():
    result = score(["one two three"], [""])
    assert (result.wer, result.cer, result.deletions) == (1.0, 1.0, 3)


def test_word_rate_equals_an_independent_edit_distance():
    generator = random.Random(7)
    pairs = [
        (
            " ".join(generator.choices("abcde", k=generator.randint(0, 9))),
            " ".join(generator.choices("abcde", k=generator.randint(0, 9))),
        )
        for _ in range(100)
    ]
    result = score([a for a, _ in pairs], [b for _, b in pairs])
    errors = sum(_edit_distance(a.split(), b.split()) for a, b in pairs)
    assert result.substitutions + result.deletions + result.insertions == errors
    assert result.wer == pytest.approx(errors / sum(len(a.split()) for a, _ in pairs))


def test_a_missing_hypothesis_is_named():
    with pytest.raises(DataError, match="1 hypotheses for 2 references"):
        score(["a", "b"], ["a"])
    with pytest.raises(DataError, match="0 utterances"):
        score([], [])


def test_scoring_loads_no_torch():
    code = "import sys, ssvd_asr.scoring; print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


def _edit_distance(a: list[str], b: list[str]) -> int:
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (x != y))
    return row[-1]
