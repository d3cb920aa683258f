"""Word and character error rates, with the one text normalisation that all scores use.

jiwer counts the errors. This module defines what is counted, so that training, evaluation and tables agree.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import jiwer

from ssvd_asr.errors import DataError

# Typographic apostrophes; in running text they are the same letter as '.
_APOSTROPHES = str.maketrans(dict.fromkeys("’‘′ʼ＇‛`´", "'"))
# Characters that are not drawn (Unicode's Default_Ignorable_Code_Point): soft hyphens, zero-width spaces and
# joiners, marks of direction, variation selectors, invisible operators, byte order marks.
_NOT_DRAWN = (
    *(range(0xAD, 0xAE), range(0x34F, 0x350), range(0x61C, 0x61D), range(0x115F, 0x1161)),
    *(range(0x17B4, 0x17B6), range(0x180B, 0x1810), range(0x200B, 0x2010), range(0x202A, 0x202F)),
    *(range(0x2060, 0x2070), range(0x3164, 0x3165), range(0xFE00, 0xFE10), range(0xFEFF, 0xFF00)),
    *(range(0xFFA0, 0xFFA1), range(0xFFF0, 0xFFF9), range(0x1BCA0, 0x1BCA4), range(0x1D173, 0x1D17B)),
    range(0xE0000, 0xE1000),
)
_INVISIBLE = dict.fromkeys(code for codes in _NOT_DRAWN for code in codes)
_LOOSE_APOSTROPHE = re.compile(r"(?<!\w)'+|'+(?!\w)")


@dataclass(frozen=True)
class Score:
    """Error rates as ratios (0.04 is 4 %; more than 1 is possible, insertions count).

    wer, cer and the counts are of the normalised text; wer_raw is of the unchanged text.
    Errors are summed over all utterances and divided once by the summed reference length.
    """

    wer: float
    wer_raw: float
    cer: float
    utterances: int
    substitutions: int  # words
    deletions: int  # words
    insertions: int  # words
    reference_words: int


def normalise(text: str) -> str:
    """Return the text as it is scored: lower case, words separated by one space, no punctuation.

    In this order: characters that are not drawn are removed (zero-width ones, soft hyphens); Unicode NFC;
    typographic apostrophes become '; lower case; everything that is not a letter, a digit, a combining mark
    or ' becomes a space (so "well-known" is two words and "3.5" too);
    an apostrophe stays only between two word characters ("don't", "o'clock", but not "'tis" or "boys'");
    runs of white space become one space, and none stays at the ends. Digits are not spelled out, and no
    spelling or contraction is rewritten. normalise(normalise(x)) == normalise(x).
    """
    text = unicodedata.normalize("NFC", text.translate(_INVISIBLE)).translate(_APOSTROPHES).lower()
    # lower() can leave decomposed letters behind (İ), hence NFC once more.
    text = unicodedata.normalize("NFC", text)
    text = "".join(c if _is_spoken(c) else " " for c in text)
    text = re.sub(r"(?<=')'+", "", text)
    return " ".join(_LOOSE_APOSTROPHE.sub(" ", text).split())


def score(references: Sequence[str], hypotheses: Sequence[str]) -> Score:
    """Score hypotheses against references, utterance by utterance in the same order.

    An utterance with an empty reference is scored like any other: every hypothesis word is an insertion.
    If all references are empty, the rate divides by 1 instead of 0. It is then the number of words
    (characters) in the hypotheses. CER counts the single spaces between words.

    Raises:
        DataError: no utterances, or not as many hypotheses as references.
    """
    if len(references) != len(hypotheses):
        raise DataError(f"{len(hypotheses)} hypotheses for {len(references)} references: need one for each")
    if not references:
        raise DataError("nothing to score: 0 utterances")
    clean_references = [normalise(text) for text in references]
    clean_hypotheses = [normalise(text) for text in hypotheses]
    words = jiwer.process_words(
        clean_references, clean_hypotheses, reference_transform=_split, hypothesis_transform=_split
    )
    raw = jiwer.process_words(
        list(references), list(hypotheses), reference_transform=_split, hypothesis_transform=_split
    )
    characters = jiwer.process_characters(
        clean_references, clean_hypotheses, reference_transform=_letters, hypothesis_transform=_letters
    )
    return Score(
        wer=_rate(words),
        wer_raw=_rate(raw),
        cer=_rate(characters),
        utterances=len(references),
        substitutions=words.substitutions,
        deletions=words.deletions,
        insertions=words.insertions,
        reference_words=_reference_length(words),
    )


def _is_spoken(character: str) -> bool:
    """Return whether this is a letter, a number, a combining mark (as in Devanagari) or the apostrophe."""
    return character == "'" or unicodedata.category(character)[0] in "LNM"


# jiwer's own transforms also strip and squeeze. With these, no release of jiwer changes what is counted.
def _split(texts: list[str]) -> list[list[str]]:
    return [text.split() for text in texts]


def _letters(texts: list[str]) -> list[list[str]]:
    return [list(text) for text in texts]


def _reference_length(counts: jiwer.WordOutput | jiwer.CharacterOutput) -> int:
    return int(counts.hits + counts.substitutions + counts.deletions)


def _rate(counts: jiwer.WordOutput | jiwer.CharacterOutput) -> float:
    errors = counts.substitutions + counts.deletions + counts.insertions
    return float(errors / max(1, _reference_length(counts)))
