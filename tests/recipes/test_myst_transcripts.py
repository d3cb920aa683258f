"""Transcripts of MyST: annotation goes, words stay."""

from __future__ import annotations

import pytest

from recipes.myst.transcripts import clean, decode, number_words


@pytest.mark.parametrize(
    ("transcript", "words"),
    [
        ("SO THE WH- WH- WATER", "SO THE WH WH WATER"),
        ("((MAYBE (THIS)) NO", "NO"),
        ("<SIDE SPEECH> {X} [INDISCERNIBLE] (()) IT", "IT"),
        ("+TICK TOCK+ IT'S +UM+ A CLOCK", "IT'S A CLOCK"),
        ("+UM I THINK +UH YES +MAYBE", "I THINK YES MAYBE"),
        ("THEY 'RE 'CAUSE OF 'EM", "THEY'RE CAUSE OF EM"),
        ("220 GRAMS & A 7", "two hundred and twenty GRAMS and A seven"),
        (
            "1,000 OR 1,000,005 BUT 1,2 AND 10,0000",
            "one thousand OR one million and five BUT one two AND ten zero zero zero zero",
        ),
        ("YES. NO, REALLY? …OH", "YES NO REALLY OH"),
        ("‘QUOTED’ CAFÉ\u00a0HERE", "'QUOTED' CAFE HERE"),
        (" ' ", ""),
    ],
)
def test_annotation_goes_and_words_stay(transcript: str, words: str) -> None:
    assert clean(transcript) == words
    assert clean(words) == words


def test_numbers_are_spelled_as_they_are_said() -> None:
    assert [number_words(n) for n in ("0", "19", "40", "101", "1220", "1000000", "007")] == [
        "zero", "nineteen", "forty", "one hundred and one", "one thousand two hundred and twenty",
        "one million", "zero zero seven",
    ]  # fmt: skip
    # As inflect says them, without its commas and hyphens.
    assert number_words("1005") == "one thousand and five"
    assert number_words("220000") == "two hundred and twenty thousand"
    assert number_words("1100") == "one thousand one hundred"


def test_transcripts_of_windows_are_read() -> None:
    assert decode("\ufeffit\u2019s\r\n".encode()) == "it\u2019s"
    assert decode(b"it\x92s") == "it\u2019s"
