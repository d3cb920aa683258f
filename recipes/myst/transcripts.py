"""Cleaning of MyST's transcripts as in the authors' ESPnet recipe, without its defects.

Source: espnet, egs2/myst/asr1/local/text_preprocess.py. See README.md for the differences.
"""

from __future__ import annotations

import re
import unicodedata

_BRACKETS = (r"\{[^{}]*\}", r"<[^<>]*>", r"\[[^\[\]]*\]", r"\([^()]*\)")  # innermost pairs
_BRACKETED = re.compile("|".join(_BRACKETS))
# "+um+", "+tick tock+": a sound, not a word. In "+um i think" the plus is not part of a pair.
_SOUND = re.compile(r"(?<!\S)\+[^+]*\+(?!\S)")
_OPEN_PAUSE = re.compile(r"(?<!\S)\+(?:um|uh)\b", re.IGNORECASE)
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")  # 1,000
_NUMBER = re.compile(r"\d+")
_APART = re.compile(r"(\w) '(re|m|ve|ll|d|s)\b", re.IGNORECASE)  # THEY 'RE
_CLIPPED = re.compile(r"(?<!\S)'(em|cause)\b", re.IGNORECASE)
_QUOTES = str.maketrans(
    {"’": "'", "‘": "'", "`": "'", "´": "'", "“": " ", "”": " ", "…": " ", "–": "-", "—": "-"}
)
_SPELLED = str.maketrans({"&": " and ", "/": " slash "})
_JOINING = str.maketrans("", "", "-_*")  # wh-, x_ray, *word*
_OTHER = re.compile(r"[^a-zA-Z' ]+")

_ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["zero", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_SCALES = ((10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred"))


def decode(content: bytes) -> str:
    """Decode a .trn file as UTF-8, or else as cp1252."""
    try:
        return content.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace").strip()


def clean(transcript: str) -> str:
    """Return the words, separated by one space, in the transcript's own case (ASCII letters).

    Annotation is removed (<breath>, (*), (()), [indiscernible], +um+); *word* and wh- keep their letters.
    Numbers are spelled out, and the apostrophe is the only punctuation left.
    """
    text = unicodedata.normalize("NFKC", transcript.translate(_QUOTES)).translate(_QUOTES)
    while (shorter := _BRACKETED.sub(" ", text)) != text:
        text = shorter
    text = _OPEN_PAUSE.sub(" ", _SOUND.sub(" ", text))
    text = text.translate(_SPELLED).translate(_JOINING)
    text = _NUMBER.sub(lambda found: f" {number_words(found[0])} ", _THOUSANDS.sub("", text))
    text = "".join(
        letter for letter in unicodedata.normalize("NFD", text) if not unicodedata.combining(letter)
    )
    text = _OTHER.sub(" ", text)
    text = _CLIPPED.sub(r"\1", _APART.sub(r"\1'\2", " ".join(text.split())))
    return " ".join(word for word in text.split() if word.strip("'"))


def number_words(digits: str) -> str:
    """Spell out a number: `220` gives `two hundred and twenty`.

    A number from 10^12 on or with a leading zero is spelled digit by digit.
    """
    number = int(digits)
    if number >= 10**12 or (len(digits) > 1 and digits.startswith("0")):
        return " ".join(_ONES[int(digit)] for digit in digits)
    return _words(number)


def _words(number: int) -> str:
    if number < 20:
        return _ONES[number]
    for scale, name in _SCALES:
        if number >= scale:
            rest = number % scale
            joined = " and " if 0 < rest < 100 else " "
            return f"{_words(number // scale)} {name}" + (joined + _words(rest) if rest else "")
    return _TENS[number // 10] + (f" {_ONES[number % 10]}" if number % 10 else "")
