"""Lists that select utterances: Whisper's figures, and ids to keep."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from ssvd_asr.errors import DataError
from ssvd_asr.scoring import score

Figures = Mapping[str, float | str]  # by utterance: a WER as a ratio, or Whisper's words


def read_figures(path: Path) -> Figures:
    """Read Whisper's WER or words for each utterance.

    A ``.jsonl`` file has objects with ``id`` and either ``wer`` (a ratio, 0.5 is 50 %) or ``hyp`` (as written
    by `ssvd evaluate --hypotheses`). Any other file is Kaldi ``text``: an id, a space, the words.

    Raises:
        DataError: the file is unreadable or empty, a line is neither (and is named), or most rates exceed 1.
    """
    figures: dict[str, float | str] = {}
    for number, line in enumerate(_lines(path), 1):
        if not path.name.endswith(".jsonl"):
            name, _, words = line.partition(" ")
            figures[name] = words
            continue
        try:
            entry = json.loads(line)
            name, figure = entry["id"], entry["wer"] if "wer" in entry else entry["hyp"]
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise DataError(
                f'{path}:{number} is no object with "id" and "wer" or "hyp": {error!r}'
            ) from error
        if not isinstance(figure, str) and (not isinstance(figure, int | float) or not figure >= 0):
            raise DataError(f'{path}:{number}: "wer" must be a ratio of at least 0, found {figure!r}')
        figures[str(name)] = figure
    rates = [figure for figure in figures.values() if not isinstance(figure, str) and figure > 0]
    if sum(rate > 1 for rate in rates) > len(rates) / 2:
        raise DataError(
            f'{path}: most of its "wer" above 0 are over 1: per cent? They must be ratios, 0.5 for 50 %'
        )
    return figures


def read_ids(path: Path) -> frozenset[str]:
    """Read the first word of each line. Raises DataError if the file is unreadable or empty."""
    return frozenset(line.split()[0] for line in _lines(path))


def wer_of(figures: Figures, name: str, reference: str) -> float | None:
    """Return the WER of an utterance as a ratio, computed if words are given; None without a figure.

    Words are compared after `ssvd_asr.scoring.normalise`. Whisper's own normaliser, which the authors used,
    also rewrites contractions and spellings. A given WER is used unchanged.
    """
    figure = figures.get(name)
    return score([reference], [figure]).wer if isinstance(figure, str) else figure


def _lines(path: Path) -> list[str]:
    """Read the non-blank lines."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if not lines:
        raise DataError(f"{path} holds no line")
    return lines
