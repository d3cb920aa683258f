"""HTML of a transcript's words, with what is wrong or different marked, and the legend of the marks.

A mark never is a colour alone: it is bold and underlined too, and says in its title what it means.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ui.heard import HeardWord
from ui.lanes import said_at
from ui.words import Step, Word

NOTHING = '<span class="ssvd-silence">nothing was understood</span>'


def against_truth(steps: Sequence[Step], heard: Sequence[HeardWord]) -> str:
    """Return a transcript whose wrong words are marked, with missing words in brackets where they belong.

    `heard` holds the words of the steps that have one, in order.
    """
    words = iter(heard)
    shown = []
    for step in steps:
        if step.heard is None:
            missing = f'title="said, and not heard">[{escape(step.said or "")}]'
            shown.append(f'<span class="ssvd-missing" {missing}</span>')
        elif step.right:
            shown.append(_word(next(words)))
        else:
            why = "nothing was said here" if step.said is None else f"said: {step.said}"
            shown.append(_marked("wrong", why, next(words)))
    return " ".join(shown) if heard else " ".join([NOTHING, *shown])


def against_each_other(words: Sequence[Word], heard: Sequence[HeardWord]) -> str:
    """Return a transcript with the words marked that the other has not. None is said to be wrong."""
    shown = [
        _marked("differs", "the other transcript differs here", each) if word.differs else _word(each)
        for word, each in zip(words, heard, strict=True)
    ]
    return " ".join(shown) or NOTHING


def legend(*, known: bool, marked: str) -> str:
    """Return the meaning of the marks that stand in `marked`; `known` says whether the truth is."""
    if not known:
        if 'class="ssvd-differs"' not in marked:
            return ""
        sample = '<mark class="ssvd-differs">word</mark>'
        return _line(f"{sample} the two transcripts differ here; which one is right is not known")
    entries = []
    if 'class="ssvd-wrong"' in marked:
        entries.append('<mark class="ssvd-wrong">word</mark> not what was said')
    if 'class="ssvd-missing"' in marked:
        entries.append('<span class="ssvd-missing">[word]</span> said, and not heard')
    return _line(" &emsp; ".join(entries)) if entries else ""


def _line(entries: str) -> str:
    return f'<p class="ssvd-legend">{entries}</p>'


def _marked(kind: str, why: str, heard: HeardWord) -> str:
    return f'<mark class="ssvd-{kind}" title="{escape(why)}">{_word(heard)}</mark>'


def _word(heard: HeardWord) -> str:
    """Return a word, as a button if its time is known."""
    shown = escape(heard.text)
    return shown if heard.start_s is None else f"<button {said_at(heard)}>{shown}</button>"
