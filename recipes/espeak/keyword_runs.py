"""Decoding of conditions with keywords, which goes on where an earlier run ended."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from recipes.espeak.keywords_page import figures
from recipes.espeak.terms import said_in

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Row = dict[str, Any]


def row_of(
    reference: str, heard: str, own: Mapping[str, int], given: Sequence[str], *, audio_s: float, wall_s: float
) -> Row:
    """Return what `figures` counts of one utterance: its own keywords, and those given that are heard."""
    return {
        "ref": reference,
        "hyp": heard,
        "own": own,
        "said": said_in(heard, given or list(own)),
        "audio_s": audio_s,
        "wall_s": round(wall_s, 4),
    }


def measure[C: DataclassInstance](
    rows_of: Callable[[C], Iterable[Row]], wanted: Sequence[C], out: Path
) -> list[Row]:
    """Return the figures of some conditions; those that an earlier run has decoded are read."""
    results = []
    for condition in tqdm(wanted, unit="condition"):
        name = "-".join(str(value) for value in asdict(condition).values())
        place = out / "rows" / f"{name}.json"
        if not place.is_file():
            place.parent.mkdir(parents=True, exist_ok=True)
            part = place.with_suffix(".part")
            part.write_text(json.dumps(list(rows_of(condition))), encoding="utf-8")
            part.replace(place)
        rows = json.loads(place.read_text(encoding="utf-8"))
        results.append({**asdict(condition), **figures(rows)})
    return results
