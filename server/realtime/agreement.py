"""Text that is told while one speaks: the words on which two decodings of growing audio agree.

Source: LocalAgreement-2 (Liu, Spanakis and Niehues, Interspeech 2020; Machacek, Dabre and Bojar, 2023).
"""

from __future__ import annotations

import re
from difflib import SequenceMatcher

from ssvd_asr.scoring import normalise

# A letter of a script without spaces between words, or letters up to the next space.
_WORD = re.compile(r"[⺀-鿿豈-﫿＀-￯぀-ヿ฀-໿က-႟ក-៿]|[^\s⺀-鿿豈-﫿＀-￯぀-ヿ฀-໿က-႟ក-៿]+")


class Agreement:
    """The text of one turn that has been told. It only grows."""

    def __init__(self) -> None:
        self.told = ""
        self._last: list[tuple[str, str]] = []

    def update(self, text: str) -> str:
        """Take a decoding of all audio so far, and return what is told now, with its space.

        The decoding's last word may be cut in two, so it is not told.
        """
        words = _words(text)
        agreed = 0
        for ours, theirs in zip(words[:-1], self._last, strict=False):
            if _same(ours[0], theirs[0]):
                agreed += 1
            else:
                break
        self._last = words
        known = len(_words(self.told))
        return self._tell(words[known:agreed]) if agreed > known else ""

    def end(self, text: str) -> str:
        """Take the decoding of the whole turn, and return the rest of the text.

        What has been told stays, also where the whole turn's decoding has other words.
        """
        told, words = _words(self.told), _words(text)
        return self._tell(words[_place_after(told, words) :])

    def _tell(self, words: list[tuple[str, str]]) -> str:
        new = "".join(before + word for word, before in words)
        new = new if self.told else new.lstrip()
        self.told += new
        return new


def _words(text: str) -> list[tuple[str, str]]:
    """Return each word with the white space before it."""
    found = []
    end = 0
    for match in _WORD.finditer(text):
        found.append((match[0], " " if match.start() > end else ""))
        end = match.end()
    return found


def _same(one: str, other: str) -> bool:
    """Return whether two words are the same but for case and punctuation, which later audio changes."""
    return one == other or (normalise(one) == normalise(other) != "")


def _place_after(told: list[tuple[str, str]], words: list[tuple[str, str]]) -> int:
    """Return the place in `words` after those that have been told."""
    ours = [normalise(word) or word for word, _ in told]
    theirs = [normalise(word) or word for word, _ in words]
    blocks = SequenceMatcher(None, ours, theirs, autojunk=False).get_matching_blocks()[:-1]
    if not blocks:
        return len(told)
    last = blocks[-1]
    return last.b + (len(told) - last.a)
