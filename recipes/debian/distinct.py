"""Utterances without a text in two splits and without a recording twice.

Three rules, in this order:

- a recording (the same bytes) that has two texts is left out, because one of them is wrong;
- a text that is said in two splits stays in the first of `STAYS`. So the tests keep their short, frequent
  answers, and the training data lose them;
- a recording that is there twice is used once.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from pathlib import Path

from recipes.entries import Kept, LeftOut
from ssvd_asr.scoring import normalise

STAYS = ("test", "valid", "train")


def distinct(entries: Iterable[Kept | LeftOut]) -> Iterator[Kept | LeftOut]:
    """Yield the entries in their order, with those left out that the module's rules leave out."""
    found = list(entries)
    kept = [entry for entry in found if isinstance(entry, Kept)]
    recordings = {entry.id: _digest(entry.audio) for entry in kept}
    texts: dict[Hashable, set[str]] = defaultdict(set)
    for utterance in kept:
        texts[recordings[utterance.id]].add(normalise(utterance.text))
    kept = [entry for entry in kept if len(texts[recordings[entry.id]]) == 1]
    stays = splits_of({entry.id: (normalise(entry.text), entry.split) for entry in kept})
    used: set[str] = set()
    for entry in found:
        if not isinstance(entry, Kept):
            yield entry
        elif len(said := texts[recordings[entry.id]]) > 1:
            detail = f"{entry.text}; said too: {', '.join(sorted(said))}"
            yield LeftOut(entry.id, entry.split, "recording with two texts", detail)
        elif (other := stays[entry.id]) != entry.split:
            yield LeftOut(entry.id, entry.split, f"text also in {other}", entry.text)
        elif recordings[entry.id] in used:
            yield LeftOut(entry.id, entry.split, "recording used before", entry.text)
        else:
            used.add(recordings[entry.id])
            yield entry


def splits_of(said: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """Return the split in which each utterance's text stays.

    Args:
        said: the text and the split of each utterance, by its id.
    """
    places: dict[str, set[str]] = defaultdict(set)
    for text, split in said.values():
        places[text].add(split)
    return {
        identity: next(split for split in STAYS if split in places[text])
        for identity, (text, _) in said.items()
    }


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
