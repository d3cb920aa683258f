"""Figures of one result of the study, as the page tells them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recipes.real_speech.study import FORGETTING_UTTERANCES
from training.bench.bootstrap import interval

Result = Mapping[str, Any]


def by_level(each: Result) -> tuple[list[int], list[int]]:
    """Return errors and words of each level; the level is the second part of an utterance's id."""
    levels: dict[str, list[int]] = {}
    for name, errors, words in zip(each["ids"], each["errors"], each["words"], strict=True):
        counts = levels.setdefault(name.split("/")[1], [0, 0])
        counts[0] += errors
        counts[1] += words
    return [errors for errors, _ in levels.values()], [words for _, words in levels.values()]


def with_interval(each: Result) -> str:
    """Return the WER with its 95 % interval, drawn over levels."""
    low, high = interval(*by_level(each))
    return f"{wer(each)} ({100 * low:.1f} to {100 * high:.1f})"


def by_speaker(each: Result) -> tuple[str, str]:
    """Return the WER of the small and of the big actor."""
    found = []
    for kind in ("-small", "-big"):
        rows = [place for place, name in enumerate(each["speakers"]) if name.endswith(kind)]
        words = sum(each["words"][place] for place in rows)
        found.append(f"{100 * sum(each['errors'][place] for place in rows) / words:.1f}" if words else "")
    return found[0], found[1]


def first(each: Result | None) -> Result | None:
    """Return the figures of the utterances on which forgetting is measured."""
    if each is None:
        return None
    errors, words = each["errors"][:FORGETTING_UTTERANCES], each["words"][:FORGETTING_UTTERANCES]
    return {"wer": sum(errors) / sum(words), "errors": errors, "words": words}


def heard(each: Result) -> tuple[str, ...]:
    """Return the figures of a test set that a row of the page holds."""
    return with_interval(each), capped(each), cer(each), *by_speaker(each)


def both(each: Result | None) -> str:
    """Return the WER, and the capped one in brackets; nothing where there is no result."""
    return "" if each is None else f"{wer(each)} ({capped(each)})"


def wer(each: Result | None) -> str:
    """Return the WER in %; nothing where there is no result."""
    return "" if each is None else f"{100 * each['wer']:.1f}"


def capped(each: Result) -> str:
    """Return the WER in % that leaves out loops."""
    return f"{100 * capped_rate(each):.1f}"


def capped_rate(each: Result) -> float:
    """Return the WER in which no utterance has more errors than words, which leaves out loops."""
    rate: float = sum(map(min, each["errors"], each["words"])) / sum(each["words"])
    return rate


def cer(each: Result) -> str:
    """Return the CER in %, if it was measured."""
    return f"{100 * each['cer']:.1f}" if "cer" in each else ""


def loss(each: Result) -> str:
    """Return the loss an utterance of validation data, if it was measured."""
    return f"{each['valid_loss']:.1f}" if "valid_loss" in each else ""
